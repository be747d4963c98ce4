// Applied before the page is drawn, so that it does not flash.
"use strict";
try {
  const theme = localStorage.getItem("theme");
  if (theme) document.documentElement.dataset.theme = theme;
} catch {
  // storage is disabled: follow the system
}
