-- The models of the home.
SELECT model_version, champion, added, promoted, evaluation, passed, reasons, recipe FROM models
ORDER BY champion DESC, added DESC NULLS LAST, model_version
