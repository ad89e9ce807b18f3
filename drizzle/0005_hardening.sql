CREATE TABLE `settings` (
	`name` text PRIMARY KEY NOT NULL,
	`value` text NOT NULL
);
--> statement-breakpoint
DROP TABLE `budgets`;--> statement-breakpoint
INSERT INTO `settings` (`name`, `value`)
	SELECT 'anonymous', CASE
		WHEN EXISTS (SELECT 1 FROM `clients`)
			OR EXISTS (SELECT 1 FROM `api_keys`)
			OR EXISTS (SELECT 1 FROM `revisions` WHERE `name` = 'clients' AND `number` <> 0)
			OR EXISTS (SELECT 1 FROM `audit_entries` WHERE `action` LIKE 'client.%')
			OR EXISTS (SELECT 1 FROM `audit_ends` WHERE `name` = 'last' AND `mac` LIKE '%.%' AND `mac` NOT LIKE '0.%')
		THEN 'off' ELSE 'on' END;