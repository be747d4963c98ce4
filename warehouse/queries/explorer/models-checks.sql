-- The checks of the promotion gate, the latest evaluation first.
SELECT evaluation, champion_version, challenger_version, name, champion, challenger, low, high, least, passed, reason
FROM checks ORDER BY evaluation DESC, name
