CREATE TABLE `settings` (
	`name` text PRIMARY KEY NOT NULL,
	`value` text NOT NULL
);
--> statement-breakpoint
INSERT INTO `settings` (`name`, `value`)
	SELECT 'anonymous', CASE
		WHEN EXISTS (SELECT 1 FROM `clients`)
			OR EXISTS (SELECT 1 FROM `api_keys`)
			OR EXISTS (SELECT 1 FROM `revisions` WHERE `name` = 'clients' AND `number` <> 0)
		THEN 'off' ELSE 'on' END;--> statement-breakpoint
INSERT INTO `revisions` (`name`, `number`) VALUES ('compatible_from', 5);
