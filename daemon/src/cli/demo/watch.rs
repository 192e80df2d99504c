//! What the local Picket says of itself on the way: questions that wait for the link, and what the answered ones have cost.

use std::time::Duration;

use crate::telemetry::Status;

/// Looks at the status page of one Picket.
pub struct Watch {
    client: reqwest::Client,
    url: String,
    /// Answered jobs about which somebody is still to be asked, as last seen …
    pub waiting: usize,
    /// … and at most.
    pub most_waiting: usize,
    pub last: Option<Status>,
}

impl Watch {
    /// # Errors
    /// There is no HTTP client.
    pub fn over(url: &str) -> anyhow::Result<Self> {
        let client = crate::cli::http::client(url, Duration::from_secs(2))?;
        Ok(Self { client, url: format!("{url}/status"), waiting: 0, most_waiting: 0, last: None })
    }

    /// A page that does not come changes nothing: the next look will tell.
    pub async fn look(&mut self) {
        if let Ok(status) = self.status().await {
            self.waiting = status.inquiries;
            self.most_waiting = self.most_waiting.max(status.inquiries);
            self.last = Some(status);
        }
    }

    async fn status(&self) -> anyhow::Result<Status> {
        let page = self.client.get(&self.url).send().await?.error_for_status()?.bytes().await?;
        Ok(serde_json::from_slice(&page)?)
    }
}
