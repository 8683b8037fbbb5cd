// How much of the server's memory the requests of one client may hold at a time.
#pragma once

#include <coroutine>
#include <cstddef>
#include <utility>

namespace doppel::nbd {

/// On the loop's thread. One coroutine at a time waits for room. A charge larger than all there is gets through alone.
class Budget {
 public:
  Budget(std::size_t bytes, unsigned requests) : most_bytes_(bytes), most_requests_(requests) {}
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  /// One request's share; given back when it goes.
  class Charge {
   public:
    Charge() = default;
    Charge(Budget& budget, std::size_t bytes) : budget_(&budget), bytes_(bytes) {}
    Charge(Charge&& other) noexcept : budget_(std::exchange(other.budget_, nullptr)), bytes_(other.bytes_) {}
    Charge& operator=(Charge&& other) noexcept {
      std::swap(budget_, other.budget_);
      std::swap(bytes_, other.bytes_);
      return *this;
    }
    ~Charge() {
      if (budget_ != nullptr) budget_->give_back(bytes_);
    }

   private:
    Budget* budget_ = nullptr;
    std::size_t bytes_ = 0;
  };

  class Awaiter {
   public:
    Awaiter(Budget& budget, std::size_t bytes) : budget_(budget), bytes_(bytes) {}
    [[nodiscard]] bool await_ready() const { return budget_.fits(bytes_); }
    void await_suspend(std::coroutine_handle<> waiting) {
      budget_.waiting_ = waiting;
      budget_.wanted_ = bytes_;
    }
    Charge await_resume() {
      budget_.bytes_ += bytes_;
      ++budget_.requests_;
      return {budget_, bytes_};
    }

   private:
    Budget& budget_;
    std::size_t bytes_;
  };

  /// Charge charge = co_await budget.take(bytes);
  [[nodiscard]] Awaiter take(std::size_t bytes) { return {*this, bytes}; }
  /// co_await budget.all_returned(): until nothing is held any more.
  [[nodiscard]] auto all_returned() { return take(most_bytes_ + 1); }
  [[nodiscard]] unsigned requests() const { return requests_; }

 private:
  [[nodiscard]] bool fits(std::size_t bytes) const {
    return requests_ == 0 || (requests_ < most_requests_ && bytes <= most_bytes_ && bytes_ <= most_bytes_ - bytes);
  }
  void give_back(std::size_t bytes) {
    bytes_ -= bytes;
    --requests_;
    if (waiting_ && fits(wanted_)) std::exchange(waiting_, {}).resume();
  }

  const std::size_t most_bytes_;
  const unsigned most_requests_;
  std::size_t bytes_ = 0;
  unsigned requests_ = 0;
  std::coroutine_handle<> waiting_;
  std::size_t wanted_ = 0;
};

}  // namespace doppel::nbd
