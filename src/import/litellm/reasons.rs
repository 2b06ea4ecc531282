//! Why members of a LiteLLM configuration are not carried over.

use super::super::node::At;
use super::super::notes::{Kind, Notes};

use Kind::{AlwaysSo, LeftOut, ToDo};

const LOGS: &str = "nothing is sent to other services: the ledger, the decision trail and /metrics have it";
const SECRETS: &str = "credentials come from the environment or from files; its value is not copied";
const DATABASE: &str = "the ledger is a file of its own (`data.dir`); its value is not copied";
const CLIENT: &str = "defaults of request parameters are not kept here: let the client send it";
const BUDGETS: &str = "budgets and rate limits of tenants are not part of this version";
const KEYS: &str = "make keys with `stellwerk keys create`; its value is not copied";
const GUARDS: &str = "contents are not looked at";
const BREAKERS: &str =
    "breakers rest a target by what failed and for how long its provider asks; there is nothing to set";
const STATE: &str = "several processes share no state in this version";

/// The last part of a path, what becomes of it, and why.
const REASONS: &[(&str, Kind, &str)] = &[
    ("access_groups", LeftOut, "name a policy for the key, team or tenant instead"),
    ("additional_drop_params", LeftOut, "parameters are mapped, refused by name or listed when dropped (`lossy`)"),
    ("alert_types", LeftOut, LOGS),
    ("alerting", LeftOut, LOGS),
    ("alerting_threshold", LeftOut, LOGS),
    ("allowed_fails", LeftOut, BREAKERS),
    ("allowed_fails_policy", LeftOut, BREAKERS),
    ("assistants_config", LeftOut, "APIs that keep state at a provider are not offered"),
    ("audit_log_callbacks", LeftOut, LOGS),
    ("aws_profile_name", LeftOut, "keys come from the environment: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    ("aws_role_name", LeftOut, "roles are not assumed: set keys or a Bedrock API key"),
    ("aws_session_name", LeftOut, "roles are not assumed: set keys or a Bedrock API key"),
    ("aws_web_identity_token", LeftOut, "roles are not assumed: set keys or a Bedrock API key"),
    ("azure_ad_token", ToDo, SECRETS),
    ("background_health_checks", LeftOut, "targets are judged by the requests that go to them"),
    ("budget_duration", LeftOut, BUDGETS),
    ("cache_kwargs", LeftOut, STATE),
    ("callback_settings", LeftOut, LOGS),
    ("callbacks", LeftOut, LOGS),
    ("client_id", ToDo, SECRETS),
    ("client_secret", ToDo, SECRETS),
    ("content_policy_fallbacks", LeftOut, "a refusal for content is the caller's answer, and no other target is asked"),
    ("cooldown_time", LeftOut, BREAKERS),
    ("custom_auth", LeftOut, "callers have virtual keys"),
    ("database_connection_pool_limit", LeftOut, DATABASE),
    ("database_url", LeftOut, DATABASE),
    ("default_max_parallel_requests", LeftOut, BUDGETS),
    ("detailed_debug", LeftOut, "set RUST_LOG"),
    ("disable_cooldowns", LeftOut, BREAKERS),
    ("enable_jwt_auth", LeftOut, "callers have virtual keys"),
    ("enable_pre_call_checks", AlwaysSo, "a target that can't hold the prompt or take a parameter is not asked"),
    ("enable_tag_filtering", LeftOut, "write a `when` condition on `key.tags`"),
    ("extra_body", LeftOut, "members are not added to requests: let the client send them"),
    ("extra_headers", ToDo, "may hold secrets and is not copied: write `headers` of the endpoint in its provider file"),
    ("failure_callback", LeftOut, LOGS),
    ("frequency_penalty", LeftOut, CLIENT),
    ("global_max_parallel_requests", LeftOut, "set `server.max_in_flight` in stellwerk.toml"),
    ("guardrails", LeftOut, GUARDS),
    ("headers", ToDo, "may hold secrets and is not copied: write `headers` of the endpoint in its provider file"),
    ("health_check_interval", LeftOut, "targets are judged by the requests that go to them"),
    ("include", ToDo, "import those files too: one is read at a time"),
    ("input_cost_per_second", LeftOut, "prices are per token or per request"),
    ("json_logs", LeftOut, "set how logs are written where the gateway is started"),
    ("key_management_settings", LeftOut, SECRETS),
    ("key_management_system", LeftOut, SECRETS),
    ("litellm_credential_name", ToDo, SECRETS),
    ("master_key", ToDo, KEYS),
    ("max_budget", LeftOut, BUDGETS),
    ("max_parallel_requests", LeftOut, BUDGETS),
    ("max_retries", LeftOut, "an attempt goes to the next target, never twice to the same"),
    ("mcp_servers", LeftOut, "tool servers are the client's"),
    ("merge_reasoning_content_in_choices", LeftOut, "thinking has a member of its own in every dialect"),
    ("mock_response", LeftOut, "answers are not made up"),
    ("model_group_retry_policy", LeftOut, "what may be tried again is decided by what failed"),
    ("modify_params", LeftOut, "requests are not changed but for what a translation needs"),
    ("optional_pre_call_checks", LeftOut, "prompt caches are kept by `prefer.affinity`"),
    ("output_cost_per_second", LeftOut, "prices are per token or per request"),
    ("pass_through_endpoints", LeftOut, "nothing is passed unmetered"),
    ("presence_penalty", LeftOut, CLIENT),
    ("provider_budget_config", LeftOut, BUDGETS),
    ("redact_user_api_key_info", AlwaysSo, "logs hold no keys"),
    ("redis_host", LeftOut, STATE),
    ("redis_password", LeftOut, STATE),
    ("redis_port", LeftOut, STATE),
    ("redis_url", LeftOut, STATE),
    ("retry_after", LeftOut, "an attempt goes to the next target at once, while the retry budget lasts"),
    ("retry_policy", LeftOut, "what may be tried again is decided by what failed"),
    ("routing_strategy_args", LeftOut, "measurements have no settings"),
    ("seed", LeftOut, CLIENT),
    ("service_callback", LeftOut, LOGS),
    ("set_verbose", LeftOut, "set RUST_LOG"),
    ("stop", LeftOut, CLIENT),
    (
        "store_model_in_db",
        LeftOut,
        "what is in the database is not in this file: models of the admin UI must be added by hand",
    ),
    ("success_callback", LeftOut, LOGS),
    ("tags", LeftOut, "write a `when` condition on `key.tags`"),
    ("team_id", LeftOut, "name a policy for the team instead (`stellwerk keys scope`)"),
    ("temperature", LeftOut, CLIENT),
    ("top_p", LeftOut, CLIENT),
    ("turn_off_message_logging", AlwaysSo, "prompts and answers are not logged"),
    ("user", LeftOut, CLIENT),
    ("vector_store_registry", LeftOut, "APIs that keep state at a provider are not offered"),
];

/// Members of whole sections, by the section's path.
const SECTIONS: &[(&str, Kind, &str)] = &[
    ("callback_settings", LeftOut, LOGS),
    ("credential_list", ToDo, SECRETS),
    ("guardrails", LeftOut, GUARDS),
    ("mcp_servers", LeftOut, "tool servers are the client's"),
    ("model_info", LeftOut, "says nothing that routing or prices need"),
];

/// Notes a member that nobody has taken.
pub(super) fn left(at: &At<'_>, name: &str, notes: &mut Notes) {
    let known = REASONS.iter().find(|(known, ..)| *known == name);
    let section = || SECTIONS.iter().find(|(section, ..)| at.path.split(['.', '[']).any(|part| part == *section));
    match known.or_else(section) {
        Some((_, kind, why)) => notes.add(*kind, at, *why),
        None => notes.add(LeftOut, at, "is not known to this importer"),
    }
}
