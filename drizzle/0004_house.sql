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
