// The translator: the same guests as soft_cpu's, every block of 64-bit code translated at once. Each run is bounded by
// time.
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "accel/soft/translator/translator.h"
#include "fuzz/random_guest.h"

using namespace doppel;

namespace {

/// Kicks a processor a moment after it began to run, over and over.
class Ticker {
 public:
  Ticker() : thread_([this](const std::stop_token& stop) { tick(stop); }) {}

  void watch(accel::soft::Cpu* cpu) {
    const std::scoped_lock lock(mutex_);
    cpu_ = cpu;
    changed_.notify_one();
  }

 private:
  void tick(const std::stop_token& stop) {
    constexpr std::chrono::microseconds kRun(200);
    std::unique_lock lock(mutex_);
    while (changed_.wait(lock, stop, [this] { return cpu_ != nullptr; })) {
      changed_.wait_for(lock, stop, kRun, [this] { return cpu_ == nullptr; });
      if (cpu_ == nullptr) continue;
      cpu_->kicked.store(true, std::memory_order_release);
      cpu_->attention.request();
    }
  }

  std::mutex mutex_;
  std::condition_variable_any changed_;
  accel::soft::Cpu* cpu_ = nullptr;
  std::jthread thread_;
};

class TranslatedGuest final : public fuzz::RandomGuest {
 public:
  TranslatedGuest(fuzz::FuzzInput& input, Ticker& ticker) : RandomGuest(input), ticker_(ticker) {
    constexpr std::size_t kCodeSize = std::size_t{1} << 20U;
    auto created = accel::soft::Translator::create(
        rig().cpu, rig().interpreter.cache(),
        {.on = true, .code_size = kCodeSize, .threshold = input.take_bool() ? 0U : 2U, .all_hot = input.take_bool()});
    if (!created) return;
    translator_ = *std::move(created);
    rig().interpreter.set_translated_code(translator_.get());
  }
  ~TranslatedGuest() override { end(); }

 private:
  StopReason resume() override {
    constexpr unsigned kWithoutEnd = 0;
    ticker_.watch(&rig().cpu);
    const StopReason reason = rig().resume(kWithoutEnd);
    ticker_.watch(nullptr);
    return reason;
  }

  Ticker& ticker_;
  std::unique_ptr<accel::soft::Translator> translator_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Ticker ticker;
  fuzz::FuzzInput input(data, size);
  TranslatedGuest(input, ticker).run();
  return 0;
}
