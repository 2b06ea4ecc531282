//! The local models of this process: started once, found by name, stopped at the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::local::{LocalModel, ModelSpec, ModelState};

/// All local models by their id in the `local` provider.
#[derive(Default)]
pub struct LocalModels(BTreeMap<String, Arc<LocalModel>>);

impl LocalModels {
    /// Starts the workers; they load in the background.
    ///
    /// # Errors
    /// A file that is not there, or a build without the runtime.
    pub fn start(config: &Config) -> Result<Self, String> {
        if config.local.is_empty() {
            return Ok(Self::default());
        }
        let exe = std::env::current_exe().map_err(|error| format!("cannot find this program's file: {error}"))?;
        let mut models = BTreeMap::new();
        for model in &config.local {
            if !model.path.is_file() {
                return Err(format!("local model `{}`: there is no file {}", model.name, model.path.display()));
            }
            let spec = ModelSpec {
                name: model.name.clone(),
                path: model.path.clone(),
                threads: model.threads,
                context: model.context,
                queue: model.queue,
            };
            models.insert(model.name.clone(), Arc::new(LocalModel::spawn(spec, exe.clone())?));
        }
        Ok(Self(models))
    }

    /// The model of that id.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<LocalModel>> {
        self.0.get(name)
    }

    /// Ids of all models.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Waits until none is loading any more.
    pub async fn settled(&self) {
        for model in self.0.values() {
            while matches!(model.state(), ModelState::Starting) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Stops all workers.
    pub async fn shutdown(&self) {
        for model in self.0.values() {
            model.shutdown().await;
        }
    }
}
