CREATE TABLE `forced_refreshes` (
	`app_id` text PRIMARY KEY NOT NULL,
	`day` text NOT NULL,
	`count` integer NOT NULL,
	`last_at` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `login_answers` (
	`key` text PRIMARY KEY NOT NULL,
	`answer` text,
	`expires_at` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `pauses` (
	`key` text PRIMARY KEY NOT NULL,
	`reason` text NOT NULL,
	`failure` text NOT NULL,
	`count` integer NOT NULL,
	`since` integer NOT NULL,
	`until` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `usage` (
	`platform` text NOT NULL,
	`app_id` text NOT NULL,
	`endpoint` text NOT NULL,
	`day` text NOT NULL,
	`calls` integer NOT NULL,
	PRIMARY KEY(`platform`, `app_id`, `endpoint`, `day`)
);
--> statement-breakpoint
ALTER TABLE `credentials` ADD `renew_left_ms` integer;--> statement-breakpoint
ALTER TABLE `credentials` ADD `is_rejected` integer DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE `credentials` ADD `dead_value` text;--> statement-breakpoint
ALTER TABLE `credentials` ADD `died_early_at` integer;--> statement-breakpoint
ALTER TABLE `credentials` ADD `died_early_ms` integer;--> statement-breakpoint
ALTER TABLE `credentials` ADD `lease_holder` text;--> statement-breakpoint
ALTER TABLE `credentials` ADD `lease_expires_at` integer;--> statement-breakpoint
ALTER TABLE `credentials` ADD `first_saved_at` integer;--> statement-breakpoint
ALTER TABLE `credentials` ADD `used_at` integer;