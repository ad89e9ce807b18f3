ALTER TABLE `clients` ADD `concurrency` integer;--> statement-breakpoint
ALTER TABLE `clients` ADD `delivery` text DEFAULT 'real' NOT NULL;--> statement-breakpoint
ALTER TABLE `clients` ADD `policy` text DEFAULT '{"preset":"all","allow":[],"deny":[]}' NOT NULL;--> statement-breakpoint
ALTER TABLE `credentials` ADD `value_digest` text;--> statement-breakpoint
ALTER TABLE `credentials` ADD `previous_digest` text;--> statement-breakpoint
ALTER TABLE `credentials` ADD `previous_until` integer;--> statement-breakpoint
CREATE INDEX `credentials_value_digest` ON `credentials` (`value_digest`);--> statement-breakpoint
CREATE INDEX `credentials_previous_digest` ON `credentials` (`previous_digest`);