//! Depth first through every order of steps.

use std::collections::HashSet;
use std::fmt;
use std::time::{Duration, Instant};

use amarula_core::engine::Appetite;

use super::model::{Action, Model};

/// Virtual time in which everything must be finished once faults are off: reconnects, a query's and an ack's deadline.
const LIVENESS_MS: u64 = 10 * 60_000;

/// What is tried after a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFault {
    /// The liveness phase at once.
    Live,
    /// Every order of what was on its way, and of the new login if a process died.
    Explore,
}

/// What is explored.
pub struct Scenario {
    /// For people.
    pub name: String,
    /// Where it begins.
    pub start: Model,
    /// What is tried after a fault.
    pub after_fault: AfterFault,
    /// What must be true when everything has come to its end.
    #[allow(clippy::type_complexity, reason = "it is named by its field")]
    pub verify: Box<dyn Fn(&Model) -> Result<(), String>>,
}

/// Where the search stops.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Different states.
    pub states: usize,
    /// Steps of one path.
    pub depth: usize,
    /// Real time.
    pub time: Duration,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Report {
    /// The scenario's name.
    pub name: String,
    /// Different states.
    pub states: usize,
    /// Steps made, those that led to a known state included.
    pub transitions: usize,
    /// States in which nothing more could happen by itself.
    pub terminal: usize,
    /// Different states from which the liveness phase was run.
    pub lives: usize,
    /// Steps of the longest path.
    pub deepest: usize,
    /// Whether every order was tried, rather than a limit reached.
    pub complete: bool,
    /// Real time it took.
    pub took: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} states, {} transitions, {} terminal, {} liveness runs, deepest {}, {} in {:.1} s",
            self.name,
            self.states,
            self.transitions,
            self.terminal,
            self.lives,
            self.deepest,
            if self.complete { "complete" } else { "LIMIT REACHED" },
            self.took.as_secs_f32(),
        )
    }
}

/// A promise that was broken, and how to get there.
#[derive(Debug)]
pub struct Problem {
    /// What.
    pub what: String,
    /// The steps from the scenario's start.
    pub path: Vec<Action>,
    /// What the world looked like; the engine's own state is too long to print.
    pub seen: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\nafter {} steps:", self.what, self.path.len())?;
        for action in &self.path {
            writeln!(f, "  {action:?}")?;
        }
        write!(f, "{}", self.seen)
    }
}

struct Search<'a> {
    scenario: &'a Scenario,
    limits: Limits,
    seen: HashSet<u128>,
    lived: HashSet<u128>,
    report: Report,
    path: Vec<Action>,
    began: Instant,
}

/// Tries every order of steps.
///
/// # Errors
/// The first broken promise.
pub fn explore(scenario: &Scenario, limits: Limits) -> Result<Report, Box<Problem>> {
    let report = Report {
        name: scenario.name.clone(),
        states: 0,
        transitions: 0,
        terminal: 0,
        lives: 0,
        deepest: 0,
        complete: true,
        took: Duration::ZERO,
    };
    let mut search = Search {
        scenario,
        limits,
        seen: HashSet::new(),
        lived: HashSet::new(),
        report,
        path: Vec::new(),
        began: Instant::now(),
    };
    search.run()?;
    search.report.took = search.began.elapsed();
    Ok(search.report)
}

impl Search<'_> {
    fn run(&mut self) -> Result<(), Box<Problem>> {
        let start = self.scenario.start.clone();
        self.seen.insert(start.digest());
        self.report.states = 1;
        let actions = start.enabled();
        // Each with the steps that are still to be tried from it, the next one last.
        let mut stack = vec![(start, actions.into_iter().rev().collect::<Vec<_>>())];
        while let Some((model, actions)) = stack.last_mut() {
            let Some(action) = actions.pop() else {
                stack.pop();
                self.path.pop();
                continue;
            };
            let mut next = model.clone();
            self.path.push(action);
            next.apply(action);
            self.report.transitions += 1;
            self.check(&next)?;
            if action.is_fault() && self.scenario.after_fault == AfterFault::Live {
                self.live(next)?;
                self.path.pop();
                continue;
            }
            if !self.seen.insert(next.digest()) {
                self.path.pop();
                continue;
            }
            self.report.states += 1;
            self.report.deepest = self.report.deepest.max(self.path.len());
            let actions: Vec<_> = next.enabled().into_iter().rev().collect();
            if actions.iter().all(|action| action.is_fault()) {
                self.report.terminal += 1;
                self.live(next.clone())?;
            }
            let exhausted = self.report.states >= self.limits.states
                || self.path.len() >= self.limits.depth
                || self.began.elapsed() >= self.limits.time;
            if exhausted {
                self.report.complete = false;
                self.path.pop();
                if self.path.len() + 1 < self.limits.depth {
                    return Ok(());
                }
                continue;
            }
            stack.push((next, actions));
        }
        Ok(())
    }

    /// What holds in every state.
    fn check(&self, model: &Model) -> Result<(), Box<Problem>> {
        if let Some(what) = model.broken.first() {
            return Err(self.problem(model, what.clone()));
        }
        if let Some(violation) = model.server.violations().first() {
            return Err(self.problem(model, format!("the server objects: {violation}")));
        }
        Ok(())
    }

    /// The liveness phase of a state in which nothing happens by itself, or after a fault.
    fn live(&mut self, mut model: Model) -> Result<(), Box<Problem>> {
        model.budget = super::Budget::default();
        if !self.lived.insert(model.digest()) {
            return Ok(());
        }
        self.report.lives += 1;
        let quiet = model.live(LIVENESS_MS);
        self.check(&model)?;
        if !quiet {
            return Err(self.problem(&model, "it never comes to an end".to_owned()));
        }
        if let Some(client) = model.clients.iter().find(|client| client.engine.appetite() != Appetite::Hungry) {
            return Err(self.problem(&model, format!("no appetite at the end: {:?}", client.engine.appetite())));
        }
        (self.scenario.verify)(&model).map_err(|what| self.problem(&model, what))
    }

    fn problem(&self, model: &Model, what: String) -> Box<Problem> {
        use std::fmt::Write as _;
        let mut seen = String::new();
        for (index, client) in model.clients.iter().enumerate() {
            let _ = writeln!(seen, "client {index}: {} open tickets", client.open_tickets());
            for delivery in &client.events {
                let _ = writeln!(seen, "  {:?} {:?}", delivery.id, delivery.event);
            }
            for completion in &client.done {
                let _ = writeln!(seen, "  {completion:?}");
            }
        }
        Box::new(Problem { what, path: self.path.clone(), seen })
    }
}
