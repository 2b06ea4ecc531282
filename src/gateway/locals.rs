//! The local models of a configuration: started when it comes into force, found by name, stopped when nobody uses them
//! any more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::domain::problem::Problem;
use crate::local::{LocalModel, ModelSpec, ModelState};

/// All local models by their id in the `local` provider. Snapshots share them: a model that the next configuration
/// leaves out goes with the last request that uses it.
#[derive(Default)]
pub struct LocalModels(BTreeMap<String, (ModelSpec, Arc<LocalModel>)>);

impl LocalModels {
    /// The models of a configuration. Those that are served already go on; others load in the background. Must be called
    /// within the async runtime.
    ///
    /// # Errors
    /// Files that are not there, or a build without the runtime.
    pub fn next(&self, config: &Config) -> Result<Self, Vec<Problem>> {
        Self::check(config)?;
        let mut models = BTreeMap::new();
        for model in &config.local {
            let spec = ModelSpec {
                name: model.name.clone(),
                path: model.path.clone(),
                threads: model.threads,
                context: model.context,
                queue: model.queue,
            };
            let served = self.0.get(&spec.name).filter(|(old, _)| *old == spec).map(|(_, model)| Arc::clone(model));
            let model = match served {
                Some(model) => model,
                None => Arc::new(started(&spec).map_err(|message| vec![problem(message)])?),
            };
            models.insert(spec.name.clone(), (spec, model));
        }
        Ok(Self(models))
    }

    /// Whether the files of all models are there. Starts nothing.
    ///
    /// # Errors
    /// Those that are not.
    pub fn check(config: &Config) -> Result<(), Vec<Problem>> {
        let gone = config.local.iter().filter(|model| !model.path.is_file());
        let told = gone.map(|model| format!("`{}`: there is no file {}", model.name, model.path.display()));
        let problems: Vec<Problem> = told.map(problem).collect();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// The model of that id.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<LocalModel>> {
        self.0.get(name).map(|(_, model)| model)
    }

    /// Waits until none is loading any more.
    pub async fn settled(&self) {
        for (_, model) in self.0.values() {
            while matches!(model.state(), ModelState::Starting) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Stops all workers.
    pub async fn shutdown(&self) {
        for (_, model) in self.0.values() {
            model.shutdown().await;
        }
    }
}

fn problem(message: String) -> Problem {
    Problem::new("local.model", message)
}

fn started(spec: &ModelSpec) -> Result<LocalModel, String> {
    let exe = std::env::current_exe().map_err(|error| format!("cannot find this program's file: {error}"))?;
    LocalModel::spawn(spec.clone(), exe)
}
