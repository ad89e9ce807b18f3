CREATE TABLE `counts` (
	`id` integer PRIMARY KEY NOT NULL,
	`minute` integer NOT NULL,
	`kind` text NOT NULL,
	`key` text NOT NULL,
	`n` integer NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `counts_of_minute` ON `counts` (`kind`,`minute`,`key`);--> statement-breakpoint
CREATE INDEX `counts_of_kind` ON `counts` (`kind`,`id`);--> statement-breakpoint
CREATE TABLE `due_work` (
	`name` text PRIMARY KEY NOT NULL,
	`due_at` integer NOT NULL
);
--> statement-breakpoint
INSERT INTO `counts` (`minute`, `kind`, `key`, `n`)
	SELECT `minute`, `kind`, `key`, `n` FROM (
		SELECT `minute`, 'usage' AS `kind`, `client` || char(31) || `environment` || char(31) || `action` || char(31) || `app` AS `key`, `count` AS `n` FROM `audit_reads`
		UNION ALL
		SELECT `minute`, 'denial', `address` || char(31) || `client` || char(31) || `route` || char(31) || `code`, `count` FROM `audit_refusals`
	)
	ORDER BY `minute`;--> statement-breakpoint
DROP TABLE `audit_reads`;--> statement-breakpoint
DROP TABLE `audit_refusals`;--> statement-breakpoint
ALTER TABLE `credentials` ADD `epoch` integer DEFAULT 0 NOT NULL;--> statement-breakpoint
CREATE INDEX `credentials_epoch` ON `credentials` (`epoch`);
