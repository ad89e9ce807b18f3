CREATE TABLE "authorization_codes" (
	"digest" text COLLATE "C" PRIMARY KEY NOT NULL,
	"platform_app" text COLLATE "C" NOT NULL,
	"account" text COLLATE "C" NOT NULL,
	"code" text COLLATE "C",
	"state" text COLLATE "C" NOT NULL,
	"attempts" bigint NOT NULL,
	"created_at" bigint NOT NULL,
	"due_at" bigint NOT NULL,
	"expires_at" bigint NOT NULL,
	"answer" text COLLATE "C",
	"error" text COLLATE "C"
);
--> statement-breakpoint
CREATE TABLE "authorization_links" (
	"state" text COLLATE "C" PRIMARY KEY NOT NULL,
	"platform_app" text COLLATE "C" NOT NULL,
	"request" text COLLATE "C" NOT NULL,
	"created_at" bigint NOT NULL,
	"expires_at" bigint NOT NULL,
	"returned_at" bigint
);
--> statement-breakpoint
ALTER TABLE "apps" ADD COLUMN "secret_version" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "apps" ADD COLUMN "third_party" text COLLATE "C" DEFAULT '' NOT NULL;--> statement-breakpoint
CREATE INDEX "authorization_codes_due" ON "authorization_codes" USING btree ("state","due_at");--> statement-breakpoint
CREATE INDEX "authorization_codes_expires_at" ON "authorization_codes" USING btree ("expires_at");--> statement-breakpoint
CREATE INDEX "authorization_links_expires_at" ON "authorization_links" USING btree ("expires_at");