CREATE TABLE `api_keys` (
	`prefix` text PRIMARY KEY NOT NULL,
	`client` text NOT NULL,
	`digest` text NOT NULL,
	`label` text NOT NULL,
	`created_at` integer NOT NULL,
	`expires_at` integer,
	`revoked_at` integer,
	`last_used_at` integer
);
--> statement-breakpoint
CREATE UNIQUE INDEX `api_keys_digest_unique` ON `api_keys` (`digest`);--> statement-breakpoint
CREATE INDEX `api_keys_of_client` ON `api_keys` (`client`);--> statement-breakpoint
CREATE TABLE `audit_ends` (
	`name` text PRIMARY KEY NOT NULL,
	`entry_id` integer NOT NULL,
	`hash` text NOT NULL,
	`mac` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `audit_entries` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`at` integer NOT NULL,
	`client` text NOT NULL,
	`environment` text NOT NULL,
	`address` text NOT NULL,
	`action` text NOT NULL,
	`app` text NOT NULL,
	`outcome` text NOT NULL,
	`trace_id` text NOT NULL,
	`token_digest` text NOT NULL,
	`detail` text NOT NULL,
	`hash` text NOT NULL
);
--> statement-breakpoint
CREATE INDEX `audit_entries_at` ON `audit_entries` (`at`);--> statement-breakpoint
CREATE TABLE `audit_reads` (
	`minute` integer NOT NULL,
	`client` text NOT NULL,
	`environment` text NOT NULL,
	`action` text NOT NULL,
	`app` text NOT NULL,
	`count` integer NOT NULL,
	PRIMARY KEY(`minute`, `client`, `environment`, `action`, `app`)
);
--> statement-breakpoint
CREATE TABLE `audit_refusals` (
	`minute` integer NOT NULL,
	`address` text NOT NULL,
	`client` text NOT NULL,
	`route` text NOT NULL,
	`code` integer NOT NULL,
	`count` integer NOT NULL,
	PRIMARY KEY(`minute`, `address`, `client`, `route`, `code`)
);
--> statement-breakpoint
CREATE TABLE `clients` (
	`name` text PRIMARY KEY NOT NULL,
	`environment` text NOT NULL,
	`grants` text NOT NULL,
	`networks` text NOT NULL,
	`expires_at` integer,
	`rate_limit` integer,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	`version` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `data_keys` (
	`name` text PRIMARY KEY NOT NULL,
	`value` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `revisions` (
	`name` text PRIMARY KEY NOT NULL,
	`number` integer NOT NULL
);
--> statement-breakpoint
ALTER TABLE `apps` ADD `source` text DEFAULT 'environment' NOT NULL;--> statement-breakpoint
ALTER TABLE `apps` ADD `title` text;--> statement-breakpoint
ALTER TABLE `apps` ADD `is_disabled` integer DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE `apps` ADD `version` integer DEFAULT 1 NOT NULL;--> statement-breakpoint
ALTER TABLE `keyring` ADD `wrapped` text;