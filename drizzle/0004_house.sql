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
WHERE `value` IS NOT NULL AND `expires_at` IS NOT NULL AND `is_rejected` = 0 AND `slot` NOT LIKE '~%';
