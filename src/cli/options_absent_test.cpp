// What Doppel has not got yet.
#include "cli/cli_test_support.h"
#include "cli/options.h"

namespace doppel::cli {
namespace {

TEST(AbsentOptions, EachIsTakenNotedRefusedOrPrints) {
  for (const Option& option : absent_options()) {
    Words words{fmt::format("-{}", option.name)};
    if (!option.argument.empty()) words.emplace_back("something");
    const auto line = parse_command_line(words);
    if (!line) {
      EXPECT_TRUE(line.error().describe().starts_with(fmt::format("-{}", option.name))) << option.name;
      continue;
    }
    for (const std::string& note : line->notes) EXPECT_TRUE(note.starts_with(words[0])) << note;
  }
}

TEST(AbsentOptions, AskingForNothingIsNoNews) {
  EXPECT_TRUE(parse_line({"-monitor", "none", "-qmp", "none", "-nic", "none", "-net", "none", "-parallel", "null",
                          "-sandbox", "off"})
                  .notes.empty());
}

TEST(AbsentOptions, WhatChangesLittleIsNoted) {
  EXPECT_EQ(parse_line({"-monitor", "stdio"}).notes,
            (Words{"-monitor stdio: monitors are not there yet; going on without"}));
  EXPECT_EQ(parse_line({"-nic", "user", "-usb"}).notes,
            (Words{"-nic user: network devices are not there yet; going on without",
                   "-usb: USB is not there yet; going on without"}));
}

TEST(AbsentOptions, WhatAGuestWouldMissIsRefused) {
  EXPECT_EQ(error_of({"-iscsi", "x=y"}), "-iscsi x=y: this is not there yet; write '-hda FILE' or '-drive file=FILE'");
  EXPECT_EQ(error_of({"-netdev", "user,id=n"}),
            "-netdev user,id=n: network devices are not there yet; write '-nic none'");
  EXPECT_EQ(error_of({"-vnc", ":0"}), "-vnc :0: only text is shown yet; write '-display curses', or '-display none'");
  EXPECT_EQ(error_of({"-incoming", "defer"}), "-incoming defer: migration and snapshots are not there yet");
}

TEST(AbsentOptions, ListsAreEmptyButThere) {
  EXPECT_EQ(printout_of({"-netdev", "help"}).text, "Available netdev backend types:\n");
  EXPECT_EQ(printout_of({"-nic", "model=help"}).text, "Supported NIC models:\n");
  EXPECT_EQ(printout_of({"-audiodev", "help"}).status, 0);
}

TEST(AbsentOptions, SpellingsOfThePastSetProperties) {
  EXPECT_EQ(parse_config({"-no-hpet", "-no-acpi", "-no-fd-bootchk"}).machine.properties,
            (vm::KeyValues{{"hpet", "off"}, {"acpi", "off"}, {"fd-bootchk", "off"}}));
}

}  // namespace
}  // namespace doppel::cli
