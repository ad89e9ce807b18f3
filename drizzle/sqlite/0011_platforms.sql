CREATE TABLE `authorization_codes` (
	`digest` text PRIMARY KEY NOT NULL,
	`platform_app` text NOT NULL,
	`account` text NOT NULL,
	`code` text,
	`state` text NOT NULL,
	`attempts` integer NOT NULL,
	`created_at` integer NOT NULL,
	`due_at` integer NOT NULL,
	`expires_at` integer NOT NULL,
	`answer` text,
	`error` text
);
--> statement-breakpoint
CREATE INDEX `authorization_codes_due` ON `authorization_codes` (`state`,`due_at`);--> statement-breakpoint
CREATE INDEX `authorization_codes_expires_at` ON `authorization_codes` (`expires_at`);--> statement-breakpoint
CREATE TABLE `authorization_links` (
	`state` text PRIMARY KEY NOT NULL,
	`platform_app` text NOT NULL,
	`request` text NOT NULL,
	`created_at` integer NOT NULL,
	`expires_at` integer NOT NULL,
	`returned_at` integer
);
--> statement-breakpoint
CREATE INDEX `authorization_links_expires_at` ON `authorization_links` (`expires_at`);--> statement-breakpoint
ALTER TABLE `apps` ADD `secret_version` integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE `apps` ADD `third_party` text DEFAULT '' NOT NULL;