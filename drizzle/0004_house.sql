ALTER TABLE `credentials` ADD `epoch` integer DEFAULT 0 NOT NULL;--> statement-breakpoint
CREATE INDEX `credentials_epoch` ON `credentials` (`epoch`);