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
CREATE INDEX `credentials_epoch` ON `credentials` (`epoch`);--> statement-breakpoint
CREATE TABLE `budgets` (
	`name` text PRIMARY KEY NOT NULL,
	`count` integer NOT NULL,
	`last_at` integer NOT NULL
);
--> statement-breakpoint
ALTER TABLE `credentials` ADD `renew_at` integer;--> statement-breakpoint
CREATE INDEX `credentials_renew_at` ON `credentials` (`renew_at`);--> statement-breakpoint
UPDATE `credentials` SET `renew_at` = `expires_at` - CAST(
	CASE
		WHEN `renew_left_ms` IS NOT NULL THEN `renew_left_ms`
		WHEN `kind` <> 'access_token' THEN 600000 * min(1, (`expires_at` - `issued_at`) / 7200000.0)
		WHEN `platform` = 'wecom' THEN -1000
		ELSE 285000 * min(1, (`expires_at` - `issued_at`) / 7200000.0)
	END AS integer)
WHERE `value` IS NOT NULL AND `expires_at` IS NOT NULL AND `is_rejected` = 0 AND `slot` NOT LIKE '~%';--> statement-breakpoint
CREATE TABLE `rejected_tokens` (
	`digest` text PRIMARY KEY NOT NULL,
	`platform` text NOT NULL,
	`app_id` text NOT NULL,
	`slot` text NOT NULL,
	`app` text NOT NULL,
	`cutoff` integer NOT NULL,
	`until` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `token_cutoffs` (
	`app` text PRIMARY KEY NOT NULL,
	`number` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `token_cutoffs_number` ON `token_cutoffs` (`number`);--> statement-breakpoint
ALTER TABLE `credentials` ADD `cutoff` integer;--> statement-breakpoint
CREATE TABLE `fingerprints` (
	`name` text PRIMARY KEY NOT NULL,
	`digest` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `pacing` (
	`key` text PRIMARY KEY NOT NULL,
	`reason` text NOT NULL,
	`detail` text,
	`count` integer NOT NULL,
	`since` integer NOT NULL,
	`until` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `pacing_until` ON `pacing` (`until`);--> statement-breakpoint
INSERT INTO `pacing` (`key`, `reason`, `detail`, `count`, `since`, `until`)
SELECT `key`, CASE `reason` WHEN 'circuit' THEN 'circuit_open' WHEN 'quota' THEN 'quota' ELSE 'exponential' END, `failure`, `count`, `since`, `until` FROM `pauses`
WHERE `key` NOT LIKE 'complaint:%' AND `key` NOT LIKE 'clear:%' AND `key` NOT LIKE 'refresh:%';--> statement-breakpoint
INSERT INTO `pacing` (`key`, `reason`, `detail`, `count`, `since`, `until`)
SELECT 'force:weixin:' || `app_id` || '#migrated', 'used', NULL, `count`, `last_at`, (strftime('%s', `day`) + 57600) * 1000 FROM `forced_refreshes`;--> statement-breakpoint
DROP TABLE `pauses`;--> statement-breakpoint
DROP TABLE `forced_refreshes`;
