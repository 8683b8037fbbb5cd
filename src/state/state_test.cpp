#include "state/state.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>

namespace doppel::state {
namespace {

enum class Phase : std::uint8_t { kIdle, kBusy };

struct Channel {
  std::uint16_t count = 0;
  bool gate = false;
  void describe(auto& fields) {
    fields("count", count);
    fields("gate", gate);
  }
  bool operator==(const Channel&) const = default;
};

struct ChipState {
  static constexpr std::string_view kName = "chip";
  static constexpr std::uint32_t kVersion = 2;
  std::uint8_t mode = 0;
  std::int64_t deadline = 0;
  Phase phase = Phase::kIdle;
  std::string label;
  std::vector<std::uint32_t> queue;
  std::array<Channel, 2> channels{};
  std::vector<std::string> names;
  std::uint32_t added = 77;  // since version 2
  void describe(auto& fields) {
    fields("mode", mode);
    fields("deadline", deadline);
    fields("phase", phase);
    fields("label", label);
    fields("queue", queue);
    fields("channels", channels);
    fields("names", names);
    fields.since(2, "added", added);
  }
  bool operator==(const ChipState&) const = default;
};

ChipState sample() {
  return {.mode = 0xa5,
          .deadline = std::numeric_limits<std::int64_t>::min(),
          .phase = Phase::kBusy,
          .label = "a label",
          .queue = {1, 2, 0xffff'ffff},
          .channels = {Channel{.count = 0x1234, .gate = true}, Channel{}},
          .names = {"", "x"},
          .added = 5};
}

std::vector<std::byte> saved(const auto& state) {
  Writer writer;
  save(writer, state);
  return writer.bytes();
}

template <class T>
std::string load_error(std::span<const std::byte> bytes) {
  Reader reader(bytes);
  const auto result = load<T>(reader);
  return result ? "loaded" : result.error().message();
}

TEST(State, RoundTrip) {
  const auto bytes = saved(sample());
  Reader reader(bytes);
  const auto loaded = load<ChipState>(reader);
  ASSERT_TRUE(loaded) << loaded.error().describe();
  EXPECT_EQ(*loaded, sample());
  EXPECT_TRUE(reader.at_end());
}

TEST(State, SectionsFollowOneAnother) {
  Writer writer;
  save(writer, sample());
  save(writer, ChipState{});
  Reader reader(writer.bytes());
  EXPECT_EQ(*load<ChipState>(reader), sample());
  EXPECT_FALSE(reader.at_end());
  EXPECT_EQ(*load<ChipState>(reader), ChipState{});
  EXPECT_TRUE(reader.at_end());
  EXPECT_EQ(load<ChipState>(reader).error().message(), "saved state: section 'chip' is missing");
}

TEST(State, SectionsMayNest) {
  Writer writer;
  writer.begin_section("outer", 1);
  save(writer, sample());
  writer.end_section();
  Reader reader(writer.bytes());
  ASSERT_TRUE(reader.begin_section("outer", 1));
  EXPECT_EQ(*load<ChipState>(reader), sample());
  EXPECT_TRUE(reader.at_end());
  EXPECT_TRUE(reader.end_section());
}

struct Small {
  static constexpr std::string_view kName = "small";
  static constexpr std::uint32_t kVersion = 1;
  std::uint8_t a = 1;
  void describe(auto& fields) { fields("a", a); }
};
struct SmallNext : Small {
  static constexpr std::uint32_t kVersion = 2;
  std::uint16_t b = 9;
  void describe(auto& fields) {
    Small::describe(fields);
    fields.since(2, "b", b);
  }
};
struct SmallRenamed : Small {
  void describe(auto& fields) { fields("z", a); }
};
struct SmallGrown : Small {  // a new field without a new version
  std::uint8_t c = 0;
  void describe(auto& fields) {
    Small::describe(fields);
    fields("c", c);
  }
};
struct Other : Small {
  static constexpr std::string_view kName = "other";
};

TEST(State, FormatOnTheWireStaysAsItIs) {
  constexpr std::string_view kExpected("\5\0\0\0small\1\0\0\0\6\0\0\0\1\0\0\0a\x2a", 23);
  EXPECT_TRUE(std::ranges::equal(saved(Small{.a = 42}), std::as_bytes(std::span(kExpected))));
}

TEST(State, OlderVersionLoadsWithDefaultsForWhatIsNew) {
  const auto bytes = saved(Small{.a = 42});
  Reader reader(bytes);
  const auto loaded = load<SmallNext>(reader);
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->a, 42);
  EXPECT_EQ(loaded->b, 9);
}

TEST(State, ErrorsNameSectionAndField) {
  EXPECT_EQ(load_error<Small>(saved(SmallNext{})),
            "saved state: section 'small' is of version 2; this program reads up to 1");
  EXPECT_EQ(load_error<Other>(saved(Small{})), "saved state: expected section 'other', found 'small'");
  EXPECT_EQ(load_error<SmallRenamed>(saved(Small{})), "saved state, section 'small': expected field 'z', found 'a'");
  EXPECT_EQ(load_error<SmallGrown>(saved(Small{})), "saved state, section 'small': field 'c' is missing");
  EXPECT_EQ(load_error<Small>(saved(SmallGrown{})),
            "saved state, section 'small': there is no field 'c' in this version");
}

TEST(State, WrongSizesAreNamed) {
  Writer writer;
  writer.begin_section("chip", 1);
  writer.put_name("mode");
  writer.put_integer(0, 1);
  writer.put_name("deadline");
  writer.put_integer(0, 3);
  writer.end_section();
  EXPECT_EQ(load_error<ChipState>(writer.bytes()),
            "saved state, section 'chip', field 'deadline': 8 bytes are expected, 3 are left");
}

struct Holder {
  static constexpr std::string_view kName = "holder";
  static constexpr std::uint32_t kVersion = 1;
  std::vector<std::uint64_t> data;
  void describe(auto& fields) { fields("data", data); }
};

TEST(State, AbsurdCountAllocatesNothing) {
  Writer writer;
  writer.begin_section("holder", 1);
  writer.put_name("data");
  writer.put_count(~std::uint64_t{0});
  writer.put_integer(0, 8);
  writer.end_section();
  EXPECT_EQ(
      load_error<Holder>(writer.bytes()),
      "saved state, section 'holder', field 'data': 18446744073709551615 elements do not fit into the 8 bytes left");
}

TEST(State, UnprintableNamesAreShownTame) {
  std::string name = "\x1b[31m\n";
  name.append(200, 'x');
  Writer writer;
  writer.begin_section(name, 1);
  writer.end_section();
  EXPECT_EQ(load_error<Small>(writer.bytes()),
            fmt::format("saved state: expected section 'small', found '?[31m?{:x>58}'", ""));
}

TEST(State, TruncationAtEveryByteIsAnError) {
  const auto bytes = saved(sample());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    // A copy of just that size lets AddressSanitizer see a read too far.
    const std::vector<std::byte> cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_NE(load_error<ChipState>(cut), "loaded") << size;
  }
}

TEST(State, FlippedBytesNeverCrashAndDamagedNamesAreNoticed) {
  const auto bytes = saved(sample());
  for (std::size_t at = 0; at < bytes.size(); ++at)
    for (unsigned bit = 0; bit < 8; ++bit) {
      auto damaged = bytes;
      damaged[at] ^= static_cast<std::byte>(1U << bit);
      Reader reader(damaged);
      const auto loaded = load<ChipState>(reader);
      // Damage to a value cannot be told from another value, but it cannot go unseen either.
      if (loaded && at >= 4 + ChipState::kName.size() + 4) {
        EXPECT_NE(saved(*loaded), bytes) << at;
      }
    }
}

TEST(State, RandomGarbageNeverCrashes) {
  constexpr unsigned kSeed = 20'24;
  std::mt19937 random(kSeed);
  const auto bytes = saved(sample());
  for (int round = 0; round < 5'000; ++round) {
    auto damaged = bytes;
    for (std::size_t i = 0; i < 1 + random() % 8; ++i)
      damaged[random() % damaged.size()] = static_cast<std::byte>(random());
    damaged.resize(random() % (damaged.size() + 1));
    Reader reader(damaged);
    (void)load<ChipState>(reader);
  }
}

TEST(State, FirstFailureSticks) {
  const auto bytes = saved(Small{});
  Reader reader(bytes);
  ASSERT_FALSE(load<Other>(reader));
  EXPECT_TRUE(reader.failed());
  EXPECT_EQ(reader.get_integer(4), 0U);
  EXPECT_TRUE(reader.get_bytes().empty());
  EXPECT_FALSE(load<Small>(reader));
}

}  // namespace
}  // namespace doppel::state
