-- What this snapshot shows.
SELECT * FROM snapshot
