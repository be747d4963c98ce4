-- The counts of this snapshot.
SELECT * FROM snapshot
