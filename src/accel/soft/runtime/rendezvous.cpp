#include "accel/soft/runtime/rendezvous.h"

#include <algorithm>

namespace doppel::accel::soft {

void Rendezvous::add(Attention& attention) {
  const std::scoped_lock lock(mutex_);
  attention_.push_back(&attention);
}

void Rendezvous::remove(Attention& attention) {
  const std::scoped_lock lock(mutex_);
  std::erase(attention_, &attention);
}

void Rendezvous::enter() {
  std::unique_lock lock(mutex_);
  ++entering_;
  changed_.wait(lock, [this] { return !stopping_.load(std::memory_order_relaxed); });
  --entering_;
  ++inside_;
  lock.unlock();
  changed_.notify_all();
}

void Rendezvous::leave() {
  {
    const std::scoped_lock lock(mutex_);
    --inside_;
  }
  changed_.notify_all();
}

void Rendezvous::begin_exclusive(bool inside) {
  if (inside) leave();
  one_at_a_time_.lock();
  std::unique_lock lock(mutex_);
  // Those whom the last one kept waiting come first, else two vCPUs that stop the world in turns would starve the rest.
  changed_.wait(lock, [this] { return entering_ == 0; });
  stopping_.store(true, std::memory_order_release);
  for (Attention* attention : attention_) attention->request();
  changed_.wait(lock, [this] { return inside_ == 0; });
}

void Rendezvous::end_exclusive(bool inside) {
  {
    const std::scoped_lock lock(mutex_);
    stopping_.store(false, std::memory_order_release);
    if (inside) ++inside_;
  }
  one_at_a_time_.unlock();
  changed_.notify_all();
}

}  // namespace doppel::accel::soft
