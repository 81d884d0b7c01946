import { defineConfig } from "vitest/config";
import { CiReporter } from "./test/support/ci-reporter.ts";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // Spawned journeys need the bundle; building it once here keeps `npm test` true after every edit.
    globalSetup: ["test/support/build.ts"],
    reporters: process.env["DOCPROC_TEST_NO_SKIP"] ? ["default", new CiReporter()] : ["default"],
    // Many tests wait for a pause, a deadline or another process.
    maxWorkers: "100%",
    testTimeout: 30_000,
    hookTimeout: 120_000,
    env: {
      // The SDK's own switch for its note about Node 20.
      AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: "true",
      // Credentials that every test server accepts; nothing outside is ever asked.
      AWS_ACCESS_KEY_ID: "test",
      AWS_SECRET_ACCESS_KEY: "test",
      AWS_REGION: "us-east-1",
      AWS_EC2_METADATA_DISABLED: "true",
      AWS_CONFIG_FILE: "does-not-exist",
      AWS_SHARED_CREDENTIALS_FILE: "does-not-exist",
    },
  },
});
