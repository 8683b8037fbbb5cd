// The registers of an NVM Express controller and their fields: NVM Express base specification 1.4, chapter 3.
#pragma once

#include <cstdint>

#include "base/bits.h"

namespace doppel::hw::nvme {

enum class Register : std::uint32_t {
  kCapabilitiesLow = 0x00,  // CAP
  kCapabilitiesHigh = 0x04,
  kVersion = 0x08,             // VS
  kMaskSet = 0x0c,             // INTMS
  kMaskClear = 0x10,           // INTMC
  kConfiguration = 0x14,       // CC
  kStatus = 0x1c,              // CSTS
  kAdminQueueSizes = 0x24,     // AQA
  kAdminSubmissionLow = 0x28,  // ASQ
  kAdminSubmissionHigh = 0x2c,
  kAdminCompletionLow = 0x30,  // ACQ
  kAdminCompletionHigh = 0x34,
};

inline constexpr std::uint32_t kDoorbells = 0x1000;
inline constexpr std::uint32_t kDoorbellSize = 4;  // CAP.DSTRD is 0
inline constexpr std::uint32_t kVersion14 = 0x0001'0400;

/// Entries of an I/O queue at most.
inline constexpr std::uint32_t kMostEntries = 2048;
inline constexpr unsigned kSmallestPageShift = 12;
inline constexpr unsigned kLargestPageShift = 16;

namespace capabilities {
inline constexpr std::uint64_t kContiguousQueues = 1ULL << 16U;  // CQR
inline constexpr std::uint64_t kTimeout = 60ULL << 24U;          // TO, in units of 500 ms
inline constexpr std::uint64_t kNvmCommandSet = 1ULL << 37U;     // CSS
inline constexpr std::uint64_t kLargestPage = std::uint64_t{kLargestPageShift - kSmallestPageShift} << 52U;  // MPSMAX
inline constexpr std::uint64_t kAll = (kMostEntries - 1) | kContiguousQueues | kTimeout | kNvmCommandSet | kLargestPage;
}  // namespace capabilities

/// CC, as fields.
struct Configuration {
  static constexpr std::uint32_t kWritable = 0x00ff'fff1;
  std::uint32_t value = 0;
  [[nodiscard]] bool enabled() const { return test_bit(value, 0); }
  [[nodiscard]] unsigned command_set() const { return bits(value, 6, 4); }
  [[nodiscard]] unsigned page_shift() const { return kSmallestPageShift + bits(value, 10, 7); }
  [[nodiscard]] unsigned arbitration() const { return bits(value, 13, 11); }
  [[nodiscard]] unsigned shutdown() const { return bits(value, 15, 14); }
  [[nodiscard]] unsigned submission_entry_shift() const { return bits(value, 19, 16); }
  [[nodiscard]] unsigned completion_entry_shift() const { return bits(value, 23, 20); }
};

namespace status {
inline constexpr std::uint32_t kReady = 0x01;     // RDY
inline constexpr std::uint32_t kFatal = 0x02;     // CFS
inline constexpr std::uint32_t kShutdown = 0x0c;  // SHST
inline constexpr std::uint32_t kShutdownInProgress = 0x04;
inline constexpr std::uint32_t kShutdownComplete = 0x08;
}  // namespace status

}  // namespace doppel::hw::nvme
