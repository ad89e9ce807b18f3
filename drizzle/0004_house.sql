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
ALTER TABLE `credentials` ADD `cutoff` integer;