CREATE TABLE `console_links` (
	`digest` text PRIMARY KEY NOT NULL,
	`client` text NOT NULL,
	`created_at` integer NOT NULL,
	`expires_at` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `console_sessions` (
	`digest` text PRIMARY KEY NOT NULL,
	`client` text NOT NULL,
	`client_created_at` integer NOT NULL,
	`key_prefix` text NOT NULL,
	`address` text NOT NULL,
	`created_at` integer NOT NULL,
	`used_at` integer NOT NULL,
	`expires_at` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `console_sessions_expires_at` ON `console_sessions` (`expires_at`);--> statement-breakpoint
CREATE TABLE `hourly_counts` (
	`app` text NOT NULL,
	`hour` integer NOT NULL,
	`series` text NOT NULL,
	`n` integer NOT NULL,
	PRIMARY KEY(`app`, `hour`, `series`)
);
--> statement-breakpoint
CREATE INDEX `hourly_counts_hour` ON `hourly_counts` (`hour`);--> statement-breakpoint
CREATE TABLE `refresh_log` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`at` integer NOT NULL,
	`app` text NOT NULL,
	`kind` text NOT NULL,
	`trigger` text NOT NULL,
	`outcome` text NOT NULL,
	`errcode` integer,
	`duration_ms` integer NOT NULL,
	`generation` integer,
	`host` text NOT NULL
);
--> statement-breakpoint
CREATE INDEX `refresh_log_of_app` ON `refresh_log` (`app`,`id`);--> statement-breakpoint
CREATE INDEX `refresh_log_at` ON `refresh_log` (`at`);