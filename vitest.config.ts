import { defineConfig } from "vitest/config";
import { CiReporter } from "./test/support/ci-reporter.ts";
import { unitTests } from "./test/support/unit-tests.ts";

const unit = unitTests();

export default defineConfig({
  test: {
    projects: [
      { extends: true, test: { name: "unit", include: unit } },
      {
        extends: true,
        test: {
          name: "system",
          include: ["test/**/*.test.ts"],
          exclude: unit,
          // Commands that run as processes need the bundle.
          globalSetup: ["test/support/build.ts"],
        },
      },
    ],
    reporters: process.env["DOCPROC_TEST_NO_SKIP"] ? ["default", new CiReporter()] : ["default"],
    // Many tests wait for a pause, a deadline or another process.
    maxWorkers: "100%",
    // Only what hangs takes so long, also on a machine at a load of 8: a test waits for conditions.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 60_000 } },
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
