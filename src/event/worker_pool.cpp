#include "event/worker_pool.h"

#include <pthread.h>

#include <condition_variable>
#include <csignal>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "event/loop.h"

namespace doppel::event {

struct WorkerPool::Impl {
  struct Job {
    std::function<void()> work;
    std::function<void()> done;
  };

  Impl(Loop& results, unsigned most) : loop(results), max_threads(most > 0 ? most : 1) {}

  void start_thread_locked();
  void run_jobs();

  Loop& loop;
  const unsigned max_threads;
  std::mutex mutex;  // guards all below
  std::condition_variable wake;
  std::deque<Job> jobs;
  std::vector<std::thread> threads;
  unsigned idle = 0;
  bool stopping = false;
};

/// Signals are for the main thread and the vCPUs: a worker is born with all of them blocked.
void WorkerPool::Impl::start_thread_locked() {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_setname_np(threads.emplace_back([this] { run_jobs(); }).native_handle(), "worker");
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void WorkerPool::Impl::run_jobs() {
  std::unique_lock lock(mutex);
  for (;;) {
    ++idle;
    wake.wait(lock, [this] { return stopping || !jobs.empty(); });
    --idle;
    if (stopping) return;
    Job job = std::move(jobs.front());
    jobs.pop_front();
    lock.unlock();
    job.work();
    job.work = nullptr;
    if (job.done) loop.post(std::move(job.done));
    lock.lock();
  }
}

WorkerPool::WorkerPool(Loop& loop, unsigned max_threads) : impl_(std::make_unique<Impl>(loop, max_threads)) {}

WorkerPool::~WorkerPool() {
  {
    const std::scoped_lock lock(impl_->mutex);
    impl_->stopping = true;
  }
  impl_->wake.notify_all();
  for (std::thread& thread : impl_->threads) thread.join();
}

void WorkerPool::submit(std::function<void()> work, std::function<void()> done) {
  {
    const std::scoped_lock lock(impl_->mutex);
    impl_->jobs.push_back({std::move(work), std::move(done)});
    if (impl_->jobs.size() > impl_->idle && impl_->threads.size() < impl_->max_threads) impl_->start_thread_locked();
  }
  impl_->wake.notify_one();
}

}  // namespace doppel::event
