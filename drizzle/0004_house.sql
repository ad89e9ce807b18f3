CREATE TABLE `fingerprints` (
	`name` text PRIMARY KEY NOT NULL,
	`digest` text NOT NULL
);
