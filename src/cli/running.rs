//! The gateway that runs with this configuration, asked over its admin plane.

use std::time::Duration;

use super::Failed;
use crate::app::ADMIN_TOKEN;
use crate::config::Config;

/// Posts to the running gateway; its status and answer, or nothing if none runs.
pub(super) fn post(
    config: &Config,
    path: &str,
    body: String,
    within: Duration,
) -> Result<Option<(u16, String)>, Failed> {
    let Ok(token) = std::fs::read_to_string(config.data_dir.join(ADMIN_TOKEN)) else { return Ok(None) };
    let url = format!("http://{}/admin/v1/{path}", config.admin_listen);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no async runtime: {error}"))?;
    runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().connect_timeout(Duration::from_secs(5)).timeout(within);
        let client = client.build().map_err(|error| error.to_string())?;
        let response = match client.post(url).bearer_auth(token.trim()).body(body).send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Ok(None),
            Err(error) => return Err(Failed::Message(format!("the running gateway does not answer: {error}"))),
        };
        let status = response.status();
        // Another gateway, of another data directory.
        if status == reqwest::StatusCode::UNAUTHORIZED {
            return Ok(None);
        }
        let text = response.text().await.map_err(|error| error.to_string())?;
        Ok(Some((status.as_u16(), text)))
    })
}
