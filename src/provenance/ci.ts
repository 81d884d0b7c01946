/** The CI job that docproc runs in, from its environment variables. ci-info recognises the provider. */
import vendors from "ci-info/vendors.json" with { type: "json" };
import { publicAddress } from "../core/address.ts";
import type { CiProvenance } from "../document/record.ts";

type Env = Readonly<Record<string, string | undefined>>;
type Fact = "run" | "attempt" | "job" | "actor" | "url" | "branch" | "commit";
type FactReaders = Readonly<Record<Fact, (env: Env) => string | null | undefined>>;

/** Characters. */
const maxFactLength = 1_000;

const of = (name: string) => (env: Env) => env[name];
/** A page's URL without credentials. */
const page = (address: string | undefined) => (/^https?:/i.test(address ?? "") ? publicAddress(address ?? "") : null);
const pageOf = (name: string) => (env: Env) => page(env[name]);
const unknown = () => undefined;
/** The first of these variables that is set and not empty. */
const firstOf =
  (...names: string[]) =>
  (env: Env) =>
    names.map((name) => env[name]).find(Boolean);

/** The variables of each provider, by ci-info's name for it. For a pull request, `branch` is the source branch. */
const providers: Readonly<Record<string, FactReaders>> = {
  // https://docs.github.com/en/actions/reference/workflows-and-actions/variables
  GITHUB_ACTIONS: {
    run: of("GITHUB_RUN_ID"),
    attempt: of("GITHUB_RUN_ATTEMPT"),
    job: of("GITHUB_JOB"),
    actor: of("GITHUB_ACTOR"),
    url: ({ GITHUB_SERVER_URL: server, GITHUB_REPOSITORY: repository, GITHUB_RUN_ID: run }) =>
      server && repository && run ? page(`${server}/${repository}/actions/runs/${run}`) : undefined,
    branch: ({ GITHUB_HEAD_REF: source, GITHUB_REF_TYPE: type, GITHUB_REF_NAME: name }) =>
      source || (type === "branch" ? name : undefined),
    commit: of("GITHUB_SHA"),
  },
  // https://docs.gitlab.com/ci/variables/predefined_variables/
  GITLAB: {
    run: of("CI_PIPELINE_ID"),
    attempt: unknown,
    job: of("CI_JOB_NAME"),
    actor: of("GITLAB_USER_LOGIN"),
    url: pageOf("CI_JOB_URL"),
    branch: firstOf("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", "CI_COMMIT_BRANCH"),
    commit: of("CI_COMMIT_SHA"),
  },
  // https://buildkite.com/docs/pipelines/configure/environment-variables
  BUILDKITE: {
    run: of("BUILDKITE_BUILD_NUMBER"),
    attempt: of("BUILDKITE_RETRY_COUNT"),
    job: of("BUILDKITE_LABEL"),
    actor: of("BUILDKITE_BUILD_CREATOR"),
    url: pageOf("BUILDKITE_BUILD_URL"),
    branch: of("BUILDKITE_BRANCH"),
    commit: of("BUILDKITE_COMMIT"),
  },
  // https://www.jenkins.io/doc/book/pipeline/jenkinsfile/#using-environment-variables
  JENKINS: {
    run: of("BUILD_NUMBER"),
    attempt: unknown,
    job: of("JOB_NAME"),
    actor: of("BUILD_USER_ID"),
    url: pageOf("BUILD_URL"),
    // For a pull request BRANCH_NAME is PR-7. GIT_BRANCH, from the git plugin, begins with the remote.
    branch: (env) => firstOf("CHANGE_BRANCH", "BRANCH_NAME")(env) ?? env["GIT_BRANCH"]?.replace(/^[^/]+\//, ""),
    commit: of("GIT_COMMIT"),
  },
  // https://circleci.com/docs/reference/variables/
  CIRCLE: {
    run: of("CIRCLE_WORKFLOW_ID"),
    attempt: unknown,
    job: of("CIRCLE_JOB"),
    actor: of("CIRCLE_USERNAME"),
    url: pageOf("CIRCLE_BUILD_URL"),
    branch: of("CIRCLE_BRANCH"),
    commit: of("CIRCLE_SHA1"),
  },
  // https://learn.microsoft.com/en-us/azure/devops/pipelines/build/variables
  AZURE_PIPELINES: {
    run: of("BUILD_BUILDID"),
    attempt: of("SYSTEM_JOBATTEMPT"),
    job: of("SYSTEM_JOBNAME"),
    actor: of("BUILD_REQUESTEDFOR"),
    url({ SYSTEM_COLLECTIONURI: collection, SYSTEM_TEAMPROJECT: project, BUILD_BUILDID: run }) {
      const server = page(collection);
      if (!server || !project || !run) return undefined;
      return `${server}${encodeURIComponent(project)}/_build/results?buildId=${encodeURIComponent(run)}`;
    },
    branch: (env) =>
      firstOf("SYSTEM_PULLREQUEST_SOURCEBRANCH", "BUILD_SOURCEBRANCH")(env)?.match(/^refs\/heads\/(.+)$/)?.[1],
    commit: of("BUILD_SOURCEVERSION"),
  },
};

/** The CI job; null outside of one. `CI=false` means none. */
export function readCi(env: Env): CiProvenance | null {
  const job = jobIn(env);
  if (job === undefined) return null;
  const { provider, tell } = job;
  return {
    provider,
    run: tell("run"),
    attempt: tell("attempt"),
    job: tell("job"),
    actor: tell("actor"),
    url: tell("url"),
  };
}

/** The branch that a job was started for (it usually checks out a bare commit); null when `commit` is not the job's. */
export function branchOfJob(env: Env, commit: string): string | null {
  const job = jobIn(env);
  return job?.tell("commit") === commit ? job.tell("branch") : null;
}

function jobIn(env: Env) {
  if (env["CI"] === "false") return undefined;
  const vendor = vendors.findLast(({ env: marks }) => [marks].flat().every((mark) => isThere(mark, env)));
  if (vendor === undefined) return undefined;
  const tell = (fact: Fact) => {
    const value = providers[vendor.constant]?.[fact](env);
    // An empty variable is an unset one. Long or multi-line values are neither names nor numbers.
    return value && value.length <= maxFactLength && !/\p{Cc}/u.test(value) ? value : null;
  };
  return { provider: vendor.name, tell };
}

/** A condition in one of ci-info's formats. */
function isThere(mark: string | object, env: Env): boolean {
  if (typeof mark === "string") return Boolean(env[mark]);
  const { env: name, includes, any } = mark as { env?: string; includes?: string; any?: string[] };
  if (name !== undefined) return env[name]?.includes(includes ?? "") ?? false;
  if (any !== undefined) return any.some((one) => Boolean(env[one]));
  return Object.entries(mark).every(([one, value]) => env[one] === value);
}
