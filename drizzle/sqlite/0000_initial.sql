CREATE TABLE `apps` (
	`platform` text NOT NULL,
	`app_id` text NOT NULL,
	`agent` text NOT NULL,
	`token_mode` text NOT NULL,
	`secret` text NOT NULL,
	`updated_at` integer NOT NULL,
	PRIMARY KEY(`platform`, `app_id`, `agent`)
);
--> statement-breakpoint
CREATE TABLE `credentials` (
	`platform` text NOT NULL,
	`app_id` text NOT NULL,
	`slot` text NOT NULL,
	`kind` text NOT NULL,
	`generation` integer NOT NULL,
	`value` text,
	`issued_at` integer,
	`expires_at` integer,
	PRIMARY KEY(`platform`, `app_id`, `slot`, `kind`)
);
--> statement-breakpoint
CREATE TABLE `keyring` (
	`key_id` text PRIMARY KEY NOT NULL,
	`proof` text NOT NULL,
	`created_at` integer NOT NULL
);
