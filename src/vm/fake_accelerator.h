// An accelerator for tests: its vCPUs "execute" a script of exits instead of a guest.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "accel/accelerator.h"
#include "base/endian.h"
#include "x86/registers.h"

namespace doppel::vm {

/// Waits until CONDITION holds; false after some seconds, which fails the test instead of hanging it.
template <class Condition>
bool eventually(Condition condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  return true;
}

/// run() hands out the script's exits in order; with none left it stays in the guest until kicked. Scripts may be
/// extended from any thread, and everything recorded may be read by any.
class FakeVcpu final : public accel::Vcpu {
 public:
  /// Returns the exit, or nothing to go on with the next step: a moment of guest execution.
  using Step = std::function<Result<accel::VcpuExit>(FakeVcpu&)>;

  explicit FakeVcpu(unsigned id) : id_(id) {}

  void then(Step step) {
    {
      const std::scoped_lock lock(mutex_);
      script_.push_back(std::move(step));
    }
    changed_.notify_all();
  }
  void then(accel::VcpuExit exit) {
    then([exit](FakeVcpu&) -> Result<accel::VcpuExit> { return exit; });
  }
  /// OUT or REP OUTS of elements of SIZE bytes.
  void then_out(std::uint16_t port, std::uint8_t size, std::vector<std::uint64_t> values) {
    then(out(port, size, std::move(values)));
  }
  static Step out(std::uint16_t port, std::uint8_t size, std::vector<std::uint64_t> values) {
    return [=](FakeVcpu& self) -> Result<accel::VcpuExit> {
      self.data_.resize(size * values.size());
      for (std::size_t i = 0; i < values.size(); ++i) store_le_sized(self.data_.data() + i * size, size, values[i]);
      return accel::IoExit{port, size, accel::IoDirection::kOut, static_cast<std::uint32_t>(values.size()), self.data_};
    };
  }
  void then_in(std::uint16_t port, std::uint8_t size, std::uint32_t count) {
    then([=](FakeVcpu& self) -> Result<accel::VcpuExit> {
      self.data_.assign(std::size_t{size} * count, std::byte{0});
      return accel::IoExit{port, size, accel::IoDirection::kIn, count, self.data_};
    });
  }
  void then_store(std::uint64_t address, std::vector<std::byte> bytes) {
    then([=](FakeVcpu& self) -> Result<accel::VcpuExit> {
      self.data_ = bytes;
      return accel::MmioExit{memory::GuestPhysAddr{address}, accel::IoDirection::kOut, self.data_};
    });
  }
  void then_load(std::uint64_t address, std::size_t size) {
    then([=](FakeVcpu& self) -> Result<accel::VcpuExit> {
      self.data_.assign(size, std::byte{0});
      return accel::MmioExit{memory::GuestPhysAddr{address}, accel::IoDirection::kIn, self.data_};
    });
  }
  void then_msr(std::uint32_t index, accel::IoDirection direction, std::uint64_t value) {
    then([=](FakeVcpu& self) -> Result<accel::VcpuExit> {
      self.msr_value_ = value;
      self.msr_fault_ = 0;
      return accel::MsrExit{index, direction, &self.msr_value_, &self.msr_fault_};
    });
  }

  /// The script is done and the vCPU is in the guest: all earlier exits were carried out.
  [[nodiscard]] bool wait_until_in_guest() {
    return eventually([this] {
      const std::scoped_lock lock(mutex_);
      return in_guest_ && script_.empty() && !kicked_;
    });
  }
  /// The last exit has been handed out; it may still be being carried out.
  [[nodiscard]] bool wait_until_script_is_done() {
    return eventually([this] {
      const std::scoped_lock lock(mutex_);
      return script_.empty();
    });
  }
  /// Under the lock of what run() and the others change.
  template <class Function>
  auto look(Function function) {
    const std::scoped_lock lock(mutex_);
    return function(*this);
  }

  [[nodiscard]] unsigned id() const override { return id_; }
  Result<accel::VcpuExit> run() override {
    std::unique_lock lock(mutex_);
    ++entries;
    in_guest_ = true;
    changed_.wait(lock, [this] { return kicked_ || !script_.empty() || (window && ready); });
    in_guest_ = false;
    if (!std::exchange(access_waits_, false) && std::exchange(kicked_, false)) return accel::InterruptedExit{};
    if (window && ready) return accel::IrqWindowExit{};
    Step step = std::move(script_.front());
    script_.pop_front();
    return step(*this);
  }
  void kick() override {
    {
      const std::scoped_lock lock(mutex_);
      kicked_ = true;
    }
    changed_.notify_all();
  }
  Result<> complete_exit() override {
    const std::scoped_lock lock(mutex_);
    if (further_accesses.empty()) return {};
    script_.push_front(std::move(further_accesses.front()));
    further_accesses.pop_front();
    access_waits_ = true;
    return fail(ErrorKind::kBusy, "another access");
  }

  Result<> get_state(x86::CpuState& out, x86::StateParts /*parts*/) override {
    const std::scoped_lock lock(mutex_);
    out = state;
    return {};
  }
  Result<> set_state(const x86::CpuState& in, x86::StateParts parts) override {
    const std::scoped_lock lock(mutex_);
    state = in;
    parts_set.push_back(parts);
    ready = (in.rflags & x86::rflags::kIf) != 0;
    return {};
  }
  Result<> set_cpuid(const x86::CpuidTable& table) override {
    cpuid = table;
    return {};
  }
  Result<x86::CpuidTable> get_cpuid() override { return cpuid; }
  Result<> inject(const accel::Injection& injection) override {
    const std::scoped_lock lock(mutex_);
    injected.push_back(injection.vector);
    if (injection.kind == accel::Injection::Kind::kNmi) state.events.nmi.pending = true;
    return {};
  }
  [[nodiscard]] bool ready_for_interrupt() const override {
    const std::scoped_lock lock(mutex_);
    return ready;
  }
  void request_interrupt_window(bool wanted) override {
    const std::scoped_lock lock(mutex_);
    window = wanted;
  }
  [[nodiscard]] std::uint64_t tsc_offset() override { return 0; }
  [[nodiscard]] std::uint8_t tpr() const override {
    const std::scoped_lock lock(mutex_);
    return cr8;
  }
  void set_tpr(std::uint8_t tpr) override {
    const std::scoped_lock lock(mutex_);
    cr8 = tpr;
  }
  Result<> set_debug(const accel::DebugRequest& /*request*/) override { return {}; }
  Result<memory::GuestPhysAddr> translate(std::uint64_t linear) override { return memory::GuestPhysAddr{linear}; }

  // Read these through look(); set them before the vCPU runs or in a Step.
  x86::CpuState state;
  x86::CpuidTable cpuid;
  std::vector<x86::StateParts> parts_set;
  std::vector<std::uint8_t> injected;
  bool ready = true;
  bool window = false;
  std::uint8_t cr8 = 0;
  unsigned entries = 0;
  std::deque<Step> further_accesses;  // of the instruction at hand, for complete_exit() to find
  std::vector<std::byte> data_;       // of the exit at hand
  std::uint64_t msr_value_ = 0;
  std::uint8_t msr_fault_ = 0;

 private:
  const unsigned id_;
  mutable std::mutex mutex_;  // guards all
  std::condition_variable changed_;
  std::deque<Step> script_;
  bool in_guest_ = false;
  bool kicked_ = false;
  bool access_waits_ = false;  // the next run() hands it out whatever else there is
};

/// What the parts of a fake accelerator share with the test, which outlives them.
struct FakeHost {
  accel::Capabilities capabilities{.irqchip = true,
                                   .split_irqchip = true,
                                   .msr_exits = true,
                                   .msr_filter = true,
                                   .nmi = true,
                                   .signal_msi = true,
                                   .max_vcpus = 8};
  accel::Traits traits;
  std::vector<std::uint32_t> msrs;
  x86::CpuidTable cpuid{{.leaf = 0, .subleaf = {}, .eax = 1, .ebx = 0, .ecx = 0, .edx = 0}};

  std::vector<FakeVcpu*> vcpus;  // alive as long as their VM
  std::mutex mutex;              // guards all below
  accel::IrqchipMode irqchip = accel::IrqchipMode::kOff;
  std::map<unsigned, accel::MemorySlot> slots;
  std::vector<std::pair<std::uint32_t, bool>> irq_lines;
  std::vector<accel::MsiMessage> messages;
  std::vector<accel::IrqRoute> routes;
  unsigned routings = 0;
  std::map<std::uint32_t, int> irqfds;  // descriptor by GSI
  bool refuses_irqfds = false;
  unsigned irqchip_loads = 0;
  std::vector<std::uint32_t> exiting_msrs;
};

class FakeVm final : public accel::Vm {
 public:
  explicit FakeVm(FakeHost& host) : host_(host) {}

  Result<> set_memory_slot(const accel::MemorySlot& slot) override {
    const std::scoped_lock lock(host_.mutex);
    if (slot.size == 0)
      host_.slots.erase(slot.slot);
    else
      host_.slots[slot.slot] = slot;
    return {};
  }
  Result<std::vector<std::uint64_t>> take_dirty_log(unsigned /*slot*/) override { return std::vector<std::uint64_t>(); }
  Result<> create_irqchip(accel::IrqchipMode mode, unsigned /*ioapic_pins*/) override {
    host_.irqchip = mode;
    return {};
  }
  Result<> create_pit() override { return unsupported(); }
  Result<std::vector<std::byte>> save_irqchip() override { return std::vector<std::byte>(1); }
  Result<> load_irqchip(std::span<const std::byte> /*saved*/) override {
    const std::scoped_lock lock(host_.mutex);
    ++host_.irqchip_loads;
    return {};
  }
  Result<std::unique_ptr<accel::Vcpu>> create_vcpu(unsigned id) override {
    auto vcpu = std::make_unique<FakeVcpu>(id);
    host_.vcpus.push_back(vcpu.get());
    return vcpu;
  }
  Result<> set_irq_line(std::uint32_t gsi, bool level) override {
    const std::scoped_lock lock(host_.mutex);
    host_.irq_lines.emplace_back(gsi, level);
    return gsi < 24 ? Result<>() : unsupported();
  }
  Result<> set_irq_routing(std::span<const accel::IrqRoute> routes) override {
    const std::scoped_lock lock(host_.mutex);
    host_.routes.assign(routes.begin(), routes.end());
    ++host_.routings;
    return {};
  }
  Result<> signal_msi(const accel::MsiMessage& message) override {
    const std::scoped_lock lock(host_.mutex);
    host_.messages.push_back(message);
    return {};
  }
  Result<> attach_ioeventfd(const accel::IoEventSpec&, const event::EventFd&) override { return unsupported(); }
  Result<> detach_ioeventfd(const accel::IoEventSpec&, const event::EventFd&) override { return unsupported(); }
  Result<> attach_irqfd(std::uint32_t gsi, const event::EventFd& event, const event::EventFd*) override {
    const std::scoped_lock lock(host_.mutex);
    if (host_.refuses_irqfds) return unsupported();
    host_.irqfds[gsi] = event.fd();
    return {};
  }
  Result<> detach_irqfd(std::uint32_t gsi, const event::EventFd&) override {
    const std::scoped_lock lock(host_.mutex);
    return host_.irqfds.erase(gsi) == 1 ? Result<>() : unsupported();
  }
  Result<> coalesce(memory::GuestPhysAddr, std::uint64_t, bool) override { return unsupported(); }
  Result<> uncoalesce(memory::GuestPhysAddr, std::uint64_t, bool) override { return unsupported(); }
  void drain_coalesced(const CoalescedWrite& /*write*/) override {}
  Result<> exit_on_msrs(std::span<const std::uint32_t> indexes, bool /*unknown*/) override {
    host_.exiting_msrs.assign(indexes.begin(), indexes.end());
    return {};
  }
  Result<std::uint64_t> get_clock() override { return 0; }
  Result<> set_clock(std::uint64_t /*ns*/) override { return {}; }
  void set_fallback(accel::InstructionFallback* /*fallback*/) override {}

 private:
  static Result<> unsupported() { return fail(ErrorKind::kUnsupported, "not in a fake"); }
  FakeHost& host_;
};

class FakeAccelerator final : public accel::Accelerator {
 public:
  explicit FakeAccelerator(FakeHost& host) : host_(host) {}
  [[nodiscard]] std::string_view name() const override { return "fake"; }
  [[nodiscard]] const accel::Capabilities& capabilities() const override { return host_.capabilities; }
  [[nodiscard]] const accel::Traits& traits() override { return host_.traits; }
  [[nodiscard]] Result<x86::CpuidTable> supported_cpuid() override { return host_.cpuid; }
  [[nodiscard]] const std::vector<std::uint32_t>& saved_msrs() const override { return host_.msrs; }
  [[nodiscard]] Result<std::unique_ptr<accel::Vm>> create_vm() override { return std::make_unique<FakeVm>(host_); }

 private:
  FakeHost& host_;
};

}  // namespace doppel::vm
