CREATE TABLE `callback_routes` (
	`app` text NOT NULL,
	`position` integer NOT NULL,
	`target` text NOT NULL,
	`role` text NOT NULL,
	`rule` text NOT NULL,
	PRIMARY KEY(`app`, `position`)
);
--> statement-breakpoint
CREATE TABLE `callback_targets` (
	`app` text NOT NULL,
	`name` text NOT NULL,
	`environment` text NOT NULL,
	`url` text,
	`content` text NOT NULL,
	`token` text,
	`aes_key` text,
	`hmac_key` text,
	`timeout_ms` integer,
	`pulled_at` integer,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	`version` integer DEFAULT 1 NOT NULL,
	PRIMARY KEY(`app`, `name`)
);
--> statement-breakpoint
CREATE TABLE `callbacks` (
	`app` text PRIMARY KEY NOT NULL,
	`token` text NOT NULL,
	`aes_key` text,
	`previous_token` text,
	`previous_aes_key` text,
	`mode` text NOT NULL,
	`format` text NOT NULL,
	`receive_ids` text NOT NULL,
	`checked_at` integer,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	`version` integer DEFAULT 1 NOT NULL
);
--> statement-breakpoint
CREATE TABLE `deliveries` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`app` text NOT NULL,
	`dedupe_key` text NOT NULL,
	`target` text NOT NULL,
	`environment` text NOT NULL,
	`role` text NOT NULL,
	`lane` text NOT NULL,
	`state` text NOT NULL,
	`attempts` integer NOT NULL,
	`due_at` integer NOT NULL,
	`created_at` integer NOT NULL,
	`expires_at` integer NOT NULL,
	`ended_at` integer,
	`error` text,
	`lease_holder` text,
	`lease_expires_at` integer
);
--> statement-breakpoint
CREATE INDEX `deliveries_due` ON `deliveries` (`state`,`due_at`);--> statement-breakpoint
CREATE INDEX `deliveries_lane` ON `deliveries` (`app`,`target`,`state`,`lane`,`id`);--> statement-breakpoint
CREATE INDEX `deliveries_push` ON `deliveries` (`app`,`dedupe_key`,`state`);--> statement-breakpoint
CREATE INDEX `deliveries_listed` ON `deliveries` (`app`,`state`,`id`);--> statement-breakpoint
CREATE TABLE `environments` (
	`name` text PRIMARY KEY NOT NULL,
	`is_production` integer NOT NULL,
	`codes` text NOT NULL,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	`version` integer DEFAULT 1 NOT NULL
);
--> statement-breakpoint
CREATE TABLE `login_codes` (
	`digest` text PRIMARY KEY NOT NULL,
	`app` text NOT NULL,
	`environment` text NOT NULL,
	`code` text,
	`expires_at` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `login_codes_expires_at` ON `login_codes` (`expires_at`);--> statement-breakpoint
CREATE TABLE `pushes` (
	`app` text NOT NULL,
	`dedupe_key` text NOT NULL,
	`received_at` integer NOT NULL,
	`type` text NOT NULL,
	`event` text NOT NULL,
	`request` text,
	`answer` text,
	`expires_at` integer NOT NULL,
	PRIMARY KEY(`app`, `dedupe_key`)
);
--> statement-breakpoint
CREATE INDEX `pushes_expires_at` ON `pushes` (`expires_at`);--> statement-breakpoint
CREATE TABLE `redirect_origins` (
	`app` text NOT NULL,
	`environment` text NOT NULL,
	`origin` text NOT NULL,
	`path` text NOT NULL,
	`created_at` integer NOT NULL,
	PRIMARY KEY(`app`, `environment`, `origin`, `path`)
);
--> statement-breakpoint
CREATE TABLE `verify_files` (
	`name` text PRIMARY KEY NOT NULL,
	`content` text NOT NULL,
	`created_at` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `waiting_logins` (
	`state` text PRIMARY KEY NOT NULL,
	`app` text NOT NULL,
	`environment` text NOT NULL,
	`request` text NOT NULL,
	`expires_at` integer NOT NULL,
	`code_digest` text,
	`repeat_until` integer
);
--> statement-breakpoint
CREATE INDEX `waiting_logins_expires_at` ON `waiting_logins` (`expires_at`);--> statement-breakpoint
ALTER TABLE `apps` ADD `is_login_only` integer DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE `apps` ADD `public_url` text;--> statement-breakpoint
ALTER TABLE `apps` ADD `js_domains` text DEFAULT '' NOT NULL;--> statement-breakpoint
INSERT INTO `environments` (`name`, `is_production`, `codes`, `created_at`, `updated_at`)
	SELECT `environment`, lower(`environment`) IN ('prod', 'production', 'prd', 'online'),
		CASE WHEN lower(`environment`) IN ('prod', 'production', 'prd', 'online') THEN 'raw' ELSE 'relay' END,
		min(`created_at`), min(`created_at`) FROM `clients` GROUP BY `environment`;
