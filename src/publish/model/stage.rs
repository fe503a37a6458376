//! The stage of the model: processes as threads of which one runs at a time, and the seed says which.
//!
//! At a random step the journal of the process that runs is copied, once or twice, and a twin started on each copy, while
//! the original is stopped at that very step: until the twins have looked at the positions for the first time, or until
//! one has published. Later everyone may be stopped anywhere for a while. A process that dies is started again when nobody
//! else lives, as an operator would do it: the one that published last.

use std::any::Any;
use std::collections::HashMap;
use std::panic::resume_unwind;
use std::sync::MutexGuard;

use rand::RngExt;
use uuid::Uuid;

use super::super::journal::ModelJournal;
use super::super::perform;
use super::World;
use super::{Killed, Shared};

/// How often a process lets another one run.
const SWITCH: f64 = 0.15;
/// How often a process among others is stopped.
const STOP: f64 = 0.02;
/// The copy is made within so many steps; about twenty make a start sequence.
const COPY_WITHIN: u32 = 80;

/// The payload that ends a thread when the play is over or has failed.
struct Curtain;

/// Who is on the stage.
pub(super) struct Stage {
    turn: usize,
    sites: Vec<Site>,
    /// Which site a run is of.
    runs: HashMap<Uuid, usize>,
    copy_at: Option<u32>,
    over: bool,
    failure: Option<Box<dyn Any + Send>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

/// A journal directory and the process on it.
struct Site {
    state: State,
    /// Taken by the thread.
    journal: ModelJournal,
    looked: bool,
    /// The copies made with it.
    siblings: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    Ready,
    Stopped(Until),
    /// Its process has ended; `finished` when nothing was left to do.
    Down {
        finished: bool,
    },
    /// It left to a twin, for good.
    Fenced,
}

/// What a stopped process waits for.
#[derive(Clone, Debug, PartialEq)]
enum Until {
    /// All of these, as far as they live, have looked at the positions.
    Looked(Vec<usize>),
    /// One of these is the last that published, or none lives.
    Published(Vec<usize>),
    Step(u32),
}

impl Stage {
    pub(super) fn empty() -> Self {
        Self {
            turn: 0,
            sites: Vec::new(),
            runs: HashMap::new(),
            copy_at: None,
            over: false,
            failure: None,
            threads: Vec::new(),
        }
    }

    pub(super) fn lives(&self, site: usize) -> bool {
        matches!(self.sites[site].state, State::Ready | State::Stopped(_))
    }
}

impl World {
    /// The site that published last.
    pub(super) fn owner(&self) -> Option<usize> {
        let newest = self
            .decided()
            .filter_map(|slot| slot.record.as_ref())
            .next_back();
        self.stage.runs.get(&newest?.run).copied()
    }

    fn may_go_on(&self, until: &Until) -> bool {
        match until {
            Until::Looked(sites) => sites
                .iter()
                .all(|site| self.stage.sites[*site].looked || !self.stage.lives(*site)),
            Until::Published(sites) => {
                self.owner().is_some_and(|owner| sites.contains(&owner))
                    || !sites.iter().any(|site| self.stage.lives(*site))
            }
            Until::Step(step) => self.steps >= *step,
        }
    }

    /// Gives the turn to one of those that can run.
    fn pass_on(&mut self) {
        let calm = self.is_calm();
        for site in 0..self.stage.sites.len() {
            if let State::Stopped(until) = self.stage.sites[site].state.clone()
                && (self.may_go_on(&until) || (calm && matches!(until, Until::Step(_))))
            {
                self.stage.sites[site].state = State::Ready;
            }
        }
        let ready = self.all_in(|state| *state == State::Ready);
        if !ready.is_empty() {
            self.stage.turn = ready[self.random.random_range(0..ready.len())];
            return;
        }
        // Time passes for those that are stopped.
        let stopped = self.all_in(|state| matches!(state, State::Stopped(Until::Step(_))));
        let next = stopped.first().copied().or_else(|| self.reborn());
        match next {
            Some(site) => {
                self.stage.sites[site].state = State::Ready;
                self.stage.turn = site;
            }
            None => self.stage.over = true,
        }
    }

    fn all_in(&self, wanted: impl Fn(&State) -> bool) -> Vec<usize> {
        (0..self.stage.sites.len())
            .filter(|site| wanted(&self.stage.sites[*site].state))
            .collect()
    }

    /// Who is started again when nobody lives: the one that published last. Among twins that is known only when what the
    /// dead one had sent has arrived.
    fn reborn(&mut self) -> Option<usize> {
        if self.stage.sites.len() > 1 {
            self.late_commit_lands();
        }
        let down = self.all_in(|state| matches!(state, State::Down { .. }));
        let owner = self.owner().filter(|owner| down.contains(owner));
        let site = owner.or_else(|| down.first().copied());
        assert!(site.is_some(), "all have left to twins, none is left");
        site.filter(|site| self.stage.sites[*site].state != State::Down { finished: true })
    }
}

impl Shared {
    /// Puts the first journal on the stage, plays until the end and returns the journal that remains.
    pub(in super::super) fn play(&self, journal: ModelJournal, twins: bool) -> ModelJournal {
        {
            let mut world = self.world();
            world.stage.copy_at = (twins && world.random.random_bool(0.7))
                .then(|| world.random.random_range(1..COPY_WITHIN));
        }
        self.enter(journal, Vec::new());
        while let Some(thread) = { self.world().stage.threads.pop() } {
            // What it panicked with is kept.
            let _ = thread.join();
        }
        let mut world = self.world();
        if let Some(failure) = world.stage.failure.take() {
            drop(world);
            resume_unwind(failure);
        }
        let remaining = world.owner().unwrap_or(0);
        let stage = std::mem::replace(&mut world.stage, Stage::empty());
        world.order = world.committed_by(&stage.runs);
        stage.sites[remaining].journal.clone()
    }

    /// A site more, with a thread of its own.
    fn enter(&self, journal: ModelJournal, siblings: Vec<usize>) {
        let mut world = self.world();
        let site = world.stage.sites.len();
        let on_site = Self {
            site,
            inner: self.inner.clone(),
        };
        let journal = journal.at(on_site.clone());
        world.stage.sites.push(Site {
            state: State::Ready,
            journal: journal.clone(),
            looked: false,
            siblings,
        });
        let thread = std::thread::spawn(move || {
            let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                on_site.wait_for_turn(on_site.world());
                perform(&on_site, &journal);
            }));
            if let Err(payload) = played
                && !payload.is::<Curtain>()
            {
                on_site.world().stage.failure.get_or_insert(payload);
                on_site.inner.1.notify_all();
            }
        });
        world.stage.threads.push(thread);
    }

    /// Lets time pass: things happen, of which one is a kill, one a copy, and one that another process runs.
    pub(in super::super) fn step(&self) {
        let mut world = self.world();
        world.steps += 1;
        assert!(
            world.steps < super::ENDLESS_STEPS,
            "it goes round in circles"
        );
        world.time_passes();
        if world.fault(0.01) {
            drop(world);
            resume_unwind(Box::new(Killed));
        }
        if world.stage.copy_at.is_some_and(|at| world.steps >= at) {
            world.stage.copy_at = None;
            let first = world.stage.sites.len();
            let copies: Vec<usize> = (first..=first + world.random.random_range(0..2)).collect();
            let until = if world.random.random_bool(0.5) {
                Until::Looked(copies.clone())
            } else {
                Until::Published(copies.clone())
            };
            let journal = world.stage.sites[self.site].journal.clone();
            drop(world);
            for _ in &copies {
                self.enter(journal.copy(), copies.clone());
            }
            world = self.world();
            world.stage.sites[self.site].state = State::Stopped(until);
        } else if world.stage.sites.len() > 1 && world.fault(STOP) {
            let until = Until::Step(world.steps + world.random.random_range(1..100));
            world.stage.sites[self.site].state = State::Stopped(until);
        }
        if world.stage.sites[self.site].state != State::Ready
            || (world.stage.sites.len() > 1 && world.random.random_bool(SWITCH))
        {
            world.pass_on();
            self.inner.1.notify_all();
        }
        self.wait_for_turn(world);
    }

    fn wait_for_turn(&self, world: MutexGuard<'_, World>) {
        let world = self
            .inner
            .1
            .wait_while(world, |world| {
                world.stage.turn != self.site && !world.stage.over && world.stage.failure.is_none()
            })
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if world.stage.over || world.stage.failure.is_some() {
            drop(world);
            resume_unwind(Box::new(Curtain));
        }
    }

    /// The process of this site has ended; returns when it is started again.
    pub(in super::super) fn leave(&self, finished: bool) {
        let mut world = self.world();
        world.stage.sites[self.site].state = State::Down { finished };
        world.pass_on();
        self.inner.1.notify_all();
        self.wait_for_turn(world);
    }

    /// The process of this site has left to a twin, which must have published.
    pub(in super::super) fn leave_for_good(&self) {
        let mut world = self.world();
        let owner = world.owner();
        assert!(
            owner.is_some_and(|owner| owner != self.site),
            "it left to a twin that never took over"
        );
        world.stage.sites[self.site].state = State::Fenced;
        world.pass_on();
        self.inner.1.notify_all();
    }

    /// A process of this site has opened its journal.
    pub(in super::super) fn runs(&self, run: Uuid) {
        let site = self.site;
        self.world().stage.runs.insert(run, site);
    }

    /// The end of the positions was seen. Those that were copied together start together: none goes on before all have.
    pub(super) fn looked(&self, world: &mut World) {
        let site = &mut world.stage.sites[self.site];
        site.looked = true;
        if !site.siblings.is_empty() {
            site.state = State::Stopped(Until::Looked(site.siblings.clone()));
        }
    }
}
