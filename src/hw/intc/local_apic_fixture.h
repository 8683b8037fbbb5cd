// What the tests of the local APIC and of the bus share.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "event/fake_clock.h"
#include "hw/intc/apic_bus.h"
#include "hw/intc/local_apic.h"

namespace doppel::hw {

struct RecordingClient final : LocalApicClient {
  void interrupt_pending() override { ++kicks; }
  void nmi() override { events.emplace_back("nmi"); }
  void smi() override { events.emplace_back("smi"); }
  void init() override { events.emplace_back("init"); }
  void start_up(std::uint8_t vector) override { events.push_back("sipi " + std::to_string(vector)); }

  int kicks = 0;
  std::vector<std::string> events;
};

struct FixedPic final : InterruptAcknowledge {
  std::uint8_t acknowledge() override {
    ++acknowledged;
    return 0x27;
  }
  int acknowledged = 0;
};

struct RecordingIoapic final : EoiListener {
  void end_of_interrupt(std::uint8_t vector) override { vectors.push_back(vector); }
  std::vector<unsigned> vectors;
};

/// One processor with its APIC, which is software-enabled. The TSC runs at 2 GHz with the clock.
class TestCpu {
 public:
  TestCpu(ApicBus& bus, event::FakeClock& clock, LocalApicConfig config, InterruptAcknowledge* pic = nullptr)
      : apic(with_tsc(config), bus, client, clock,
             [this, &clock] { return tsc_offset + static_cast<std::uint64_t>(clock.now_ns()) * 2; }, pic, {}) {
    EXPECT_TRUE(bus.attach(apic));
    write(lapic::Register::kSvr, 0x1ff);
  }

  [[nodiscard]] std::uint64_t read(lapic::Register reg) { return apic.read(16 * static_cast<std::uint64_t>(reg), 4); }
  void write(lapic::Register reg, std::uint64_t value) { apic.write(16 * static_cast<std::uint64_t>(reg), 4, value); }
  /// An IPI in xAPIC mode.
  void command(std::uint32_t low, std::uint32_t destination = 0) {
    write(lapic::Register::kIcrHigh, static_cast<std::uint64_t>(destination) << 24U);
    write(lapic::Register::kIcr, low);
  }
  [[nodiscard]] bool enable_x2apic() { return apic.write_msr(lapic::kMsrApicBase, apic.apic_base() | 0x400); }
  [[nodiscard]] static std::uint32_t msr(lapic::Register reg) { return 0x800U + static_cast<std::uint32_t>(reg); }
  void accept(std::uint8_t vector, TriggerMode trigger = TriggerMode::kEdge) {
    apic.accept({.trigger_mode = trigger, .vector = vector});
  }
  /// Takes and ends all interrupts.
  std::vector<unsigned> drain() {
    std::vector<unsigned> vectors;
    while (apic.has_interrupt()) {
      vectors.push_back(apic.acknowledge().value_or(0));
      apic.end_of_interrupt();
    }
    return vectors;
  }

  std::uint64_t tsc_offset = 0;
  RecordingClient client;
  LocalApic apic;

 private:
  static LocalApicConfig with_tsc(LocalApicConfig config) {
    config.tsc_hz = 2'000'000'000;
    return config;
  }
};

using Vectors = std::vector<unsigned>;
using Events = std::vector<std::string>;

}  // namespace doppel::hw
