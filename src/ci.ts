/** The CI job that docproc runs in, as its variables tell. Which provider it is, is known to ci-info. */
import vendors from "ci-info/vendors.json" with { type: "json" };
import type { CiProvenance } from "./document.ts";

type Env = Readonly<Record<string, string | undefined>>;
type Facts = Readonly<Record<"run" | "attempt" | "job" | "actor" | "url", (env: Env) => string | undefined>>;

const of = (name: string) => (env: Env) => env[name];
const unknown = () => undefined;

/** Which variables tell what, by ci-info's name of the provider. */
const providers: Readonly<Record<string, Facts>> = {
  // https://docs.github.com/en/actions/reference/workflows-and-actions/variables
  GITHUB_ACTIONS: {
    run: of("GITHUB_RUN_ID"),
    attempt: of("GITHUB_RUN_ATTEMPT"),
    job: of("GITHUB_JOB"),
    actor: of("GITHUB_ACTOR"),
    url: ({ GITHUB_SERVER_URL: server, GITHUB_REPOSITORY: repository, GITHUB_RUN_ID: run }) =>
      server && repository && run ? `${server}/${repository}/actions/runs/${run}` : undefined,
  },
  // https://docs.gitlab.com/ci/variables/predefined_variables/
  GITLAB: {
    run: of("CI_PIPELINE_ID"),
    attempt: unknown,
    job: of("CI_JOB_NAME"),
    actor: of("GITLAB_USER_LOGIN"),
    url: of("CI_JOB_URL"),
  },
  // https://buildkite.com/docs/pipelines/configure/environment-variables
  BUILDKITE: {
    run: of("BUILDKITE_BUILD_NUMBER"),
    attempt: of("BUILDKITE_RETRY_COUNT"),
    job: of("BUILDKITE_LABEL"),
    actor: of("BUILDKITE_BUILD_CREATOR"),
    url: of("BUILDKITE_BUILD_URL"),
  },
  // https://www.jenkins.io/doc/book/pipeline/jenkinsfile/#using-environment-variables
  JENKINS: {
    run: of("BUILD_NUMBER"),
    attempt: unknown,
    job: of("JOB_NAME"),
    actor: of("BUILD_USER_ID"),
    url: of("BUILD_URL"),
  },
  // https://circleci.com/docs/reference/variables/
  CIRCLE: {
    run: of("CIRCLE_WORKFLOW_ID"),
    attempt: unknown,
    job: of("CIRCLE_JOB"),
    actor: of("CIRCLE_USERNAME"),
    url: of("CIRCLE_BUILD_URL"),
  },
  // https://learn.microsoft.com/en-us/azure/devops/pipelines/build/variables
  AZURE_PIPELINES: {
    run: of("BUILD_BUILDID"),
    attempt: of("SYSTEM_JOBATTEMPT"),
    job: of("SYSTEM_JOBNAME"),
    actor: of("BUILD_REQUESTEDFOR"),
    url: ({ SYSTEM_COLLECTIONURI: server, SYSTEM_TEAMPROJECT: project, BUILD_BUILDID: run }) =>
      server && project && run
        ? `${server}${encodeURIComponent(project)}/_build/results?buildId=${encodeURIComponent(run)}`
        : undefined,
  },
};

/** The job, or null outside any. `CI=false` says that it is none. */
export function readCi(env: Env): CiProvenance | null {
  if (env["CI"] === "false") return null;
  const vendor = vendors.findLast(({ env: marks }) => [marks].flat().every((mark) => isThere(mark, env)));
  if (vendor === undefined) return null;
  const facts = providers[vendor.constant];
  // An empty variable is an unset one.
  const tell = (fact: keyof Facts) => facts?.[fact](env) || null;
  return {
    provider: vendor.name,
    run: tell("run"),
    attempt: tell("attempt"),
    job: tell("job"),
    actor: tell("actor"),
    url: tell("url"),
  };
}

/** One of the forms that ci-info describes a variable in. */
function isThere(mark: string | object, env: Env): boolean {
  if (typeof mark === "string") return Boolean(env[mark]);
  const { env: name, includes, any } = mark as { env?: string; includes?: string; any?: string[] };
  if (name !== undefined) return env[name]?.includes(includes ?? "") ?? false;
  if (any !== undefined) return any.some((one) => Boolean(env[one]));
  return Object.entries(mark).every(([one, value]) => env[one] === value);
}
