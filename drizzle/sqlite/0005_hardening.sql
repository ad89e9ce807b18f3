CREATE TABLE `settings` (
	`name` text PRIMARY KEY NOT NULL,
	`value` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `user_tokens` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`digest` text NOT NULL,
	`client` text NOT NULL,
	`client_created_at` integer NOT NULL,
	`key_prefix` text NOT NULL,
	`app` text NOT NULL,
	`until` integer NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `user_tokens_digest_unique` ON `user_tokens` (`digest`);--> statement-breakpoint
CREATE INDEX `user_tokens_until` ON `user_tokens` (`until`);--> statement-breakpoint
ALTER TABLE `clients` ADD `origins` text DEFAULT '' NOT NULL;--> statement-breakpoint
INSERT INTO `settings` (`name`, `value`)
	SELECT 'anonymous', CASE
		WHEN EXISTS (SELECT 1 FROM `clients`)
			OR EXISTS (SELECT 1 FROM `api_keys`)
			OR EXISTS (SELECT 1 FROM `revisions` WHERE `name` = 'clients' AND `number` <> 0)
		THEN 'off' ELSE 'on' END;--> statement-breakpoint
INSERT INTO `revisions` (`name`, `number`) VALUES ('compatible_from', 5);
