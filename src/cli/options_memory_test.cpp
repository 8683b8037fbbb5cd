// -m, -mem-path, -mem-prealloc, -object, -numa.
#include "base/bits.h"
#include "cli/cli_test_support.h"

namespace doppel::cli {
namespace {

using memory::RamKind;

TEST(MemoryOption, SizesAndUnits) {
  EXPECT_EQ(parse_config({"-m", "512"}).memory.size, 512 * kMiB);
  EXPECT_EQ(parse_config({"-m", "1.5G"}).memory.size, 1536 * kMiB);
  EXPECT_EQ(parse_config({"-m", "size=524288k"}).memory.size, 512 * kMiB);
}

TEST(MemoryOption, RepeatsAreMergedKeyByKey) {
  const auto memory = parse_config({"-m", "1G", "-m", "slots=4,maxmem=4G"}).memory;
  EXPECT_EQ(memory.size, kGiB);
  EXPECT_EQ(memory.slots, 4U);
  EXPECT_EQ(memory.maxmem, 4 * kGiB);
}

TEST(MemoryOption, Errors) {
  EXPECT_EQ(error_of({"-m", "0"}),
            "-m 0: 0 B is less than the 2 MiB a PC needs; a bare number counts MiB, write 512M or 1G");
  EXPECT_EQ(error_of({"-m", "1"}),
            "-m 1: 1 MiB is less than the 2 MiB a PC needs; a bare number counts MiB, write 512M or 1G");
  EXPECT_EQ(error_of({"-m", "1G,slots=many"}), "-m 1G,slots=many: slots= expects a number, not 'many'");
  EXPECT_EQ(error_of({"-m", "1G,maxmemory=2G"}),
            "-m 1G,maxmemory=2G: there is no key 'maxmemory' (did you mean 'maxmem'?)");
  EXPECT_EQ(error_of({"-m", "99999999P"}), "-m 99999999P: '99999999P' is larger than 16 EiB");
}

TEST(MemoryOption, PathAndPreallocation) {
  const auto memory = parse_config({"-mem-path", "/dev/hugepages", "-mem-prealloc"}).memory;
  EXPECT_EQ(memory.path, "/dev/hugepages");
  EXPECT_TRUE(memory.prealloc);
}

TEST(ObjectOption, RamBackend) {
  const auto backend = parse_config({"-object",
                                     "memory-backend-ram,id=m0,size=64M,merge=off,dump=off,prealloc=on,"
                                     "prealloc-threads=4,share=on,policy=bind,host-nodes=0-1,host-nodes=3"})
                           .memory_backends.at(0);
  EXPECT_EQ(backend.id, "m0");
  EXPECT_EQ(backend.options.name, "m0");
  EXPECT_EQ(backend.options.kind, RamKind::kAnonymous);
  EXPECT_EQ(backend.options.size, 64 * kMiB);
  EXPECT_FALSE(backend.options.merge || backend.options.dump);
  EXPECT_TRUE(backend.options.prealloc && backend.options.shared);
  EXPECT_EQ(backend.options.prealloc_threads, 4U);
  EXPECT_EQ(backend.options.policy, memory::NumaPolicy::kBind);
  EXPECT_EQ(backend.options.host_nodes, (std::vector<unsigned>{0, 1, 3}));
}

TEST(ObjectOption, FileAndMemfdBackends) {
  const auto config = parse_config(
      {"-object", "memory-backend-file,id=f,size=1M,mem-path=/x,offset=4K,discard-data=on,readonly=on,share=on",
       "-object", "memory-backend-memfd,id=m,size=2M,hugetlb=on,hugetlbsize=2M,seal=off"});
  const auto& file = config.memory_backends.at(0).options;
  EXPECT_EQ(file.kind, RamKind::kFile);
  EXPECT_EQ(file.path, "/x");
  EXPECT_EQ(file.file_offset, 4096U);
  EXPECT_TRUE(file.discard_data && file.read_only && file.shared);
  const auto& memfd = config.memory_backends.at(1).options;
  EXPECT_EQ(memfd.kind, RamKind::kMemfd);
  EXPECT_TRUE(memfd.shared) << "a memfd is for sharing";
  EXPECT_TRUE(memfd.hugetlb);
  EXPECT_EQ(memfd.huge_page_size, 2 * kMiB);
}

TEST(ObjectOption, Json) {
  const auto backend =
      parse_config({"-object", R"({"qom-type":"memory-backend-ram","id":"pc.ram","size":1048576,"host-nodes":[2,4]})"})
          .memory_backends.at(0);
  EXPECT_EQ(backend.id, "pc.ram");
  EXPECT_EQ(backend.options.size, kMiB);
  EXPECT_EQ(backend.options.host_nodes, (std::vector<unsigned>{2, 4}));
}

TEST(ObjectOption, Errors) {
  const auto object = [](const std::string& text) { return error_of({"-object", text}).substr(8 + text.size()); };
  EXPECT_EQ(object("memory-backend-rom,id=a"),
            ": there is no object type 'memory-backend-rom' (did you mean 'memory-backend-ram'?); '-object help' lists "
            "them");
  EXPECT_EQ(object("memory-backend-ram,size=1M"), ": id= is missing, such as id=mem0");
  EXPECT_EQ(object("memory-backend-ram,id=a"), ": a memory backend needs size=, such as size=512M");
  EXPECT_EQ(object("memory-backend-file,id=a,size=1M"), ": memory-backend-file needs mem-path=");
  EXPECT_EQ(object("memory-backend-ram,id=0,size=1M"),
            ": id= expects a letter and then letters, digits, '-', '.' or '_', not '0'");
  EXPECT_EQ(object("memory-backend-ram,id=a,size=1M,policy=best"),
            ": policy= expects default or preferred or bind or interleave, not 'best'");
  EXPECT_EQ(object("memory-backend-ram,id=a,size=1M,host-nodes=3-1"), ": '3-1' is not a number or a range such as 0-3");
  EXPECT_EQ(object("memory-backend-ram,id=a,size=1M,shared=on"), ": there is no key 'shared' (did you mean 'share'?)");
  EXPECT_EQ(object("{\"qom-type\":"), ": this is not valid JSON: it ends too early");
  const std::string one = "memory-backend-ram,id=a,size=1M";
  EXPECT_EQ(error_of({"-object", one, "-object", one}), "-object " + one + ": the id 'a' is taken by another object");
}

TEST(ObjectOption, Help) {
  EXPECT_EQ(printout_of({"-object", "help"}).text,
            "List of user creatable objects:\n  iothread\n  memory-backend-file\n  memory-backend-memfd\n  "
            "memory-backend-ram\n"
            "  secret\n  throttle-group\n");
  const std::string text = printout_of({"-object", "memory-backend-file,help"}).text;
  EXPECT_TRUE(text.starts_with("memory-backend-file options:\n  dump=<bool>"));
  EXPECT_NE(text.find("\n  mem-path=<str> "), std::string::npos);
}

/// Every key that help names is one that the option takes.
TEST(ObjectOption, HelpTellsTheTruth) {
  for (const std::string type : {"memory-backend-ram", "memory-backend-file", "memory-backend-memfd"}) {
    const std::string text = printout_of({"-object", type + ",help"}).text;
    for (std::size_t at = text.find("\n  "); at != std::string::npos; at = text.find("\n  ", at + 1)) {
      const std::string key = text.substr(at + 3, text.find('=', at) - at - 3);
      EXPECT_EQ(error_of({"-object", type + ",id=a,size=1M,mem-path=x," + key + "=1"}).find("there is no key '" + key),
                std::string::npos)
          << type << " " << key;
    }
  }
}

TEST(NumaOption, Nodes) {
  const auto numa = parse_config({"-numa", "node,cpus=0-1,cpus=4,mem=1G", "-numa", "node,nodeid=3,memdev=m0", "-numa",
                                  "node,mem=512"})
                        .numa;
  ASSERT_EQ(numa.nodes.size(), 3U);
  EXPECT_EQ(numa.nodes[0].id, 0U);
  EXPECT_EQ(numa.nodes[0].cpus, (std::vector<unsigned>{0, 1, 4}));
  EXPECT_EQ(numa.nodes[0].size, kGiB);
  EXPECT_EQ(numa.nodes[1].id, 3U);
  EXPECT_EQ(numa.nodes[1].memdev, "m0");
  EXPECT_EQ(numa.nodes[2].id, 2U);
  EXPECT_EQ(numa.nodes[2].size, 512 * kMiB);
}

TEST(NumaOption, Distances) {
  const auto distance = parse_config({"-numa", "dist,src=0,dst=1,val=21"}).numa.distances.at(0);
  EXPECT_EQ(distance.source, 0U);
  EXPECT_EQ(distance.destination, 1U);
  EXPECT_EQ(distance.value, 21);
}

TEST(NumaOption, Errors) {
  EXPECT_EQ(error_of({"-numa", "node,mem=1G,memdev=a"}),
            "-numa node,mem=1G,memdev=a: mem= and memdev= exclude each other");
  EXPECT_EQ(error_of({"-numa", "node,cpus=a-b"}), "-numa node,cpus=a-b: 'a-b' is not a number or a range such as 0-3");
  EXPECT_EQ(error_of({"-numa", "node,cpus=0-99999"}),
            "-numa node,cpus=0-99999: '0-99999' is not a number or a range such as 0-3");
  EXPECT_EQ(error_of({"-numa", "cpu,node-id=0"}),
            "-numa cpu,node-id=0: 'cpu' is neither node nor dist; a node's CPUs are written 'node,cpus=0-3'");
  EXPECT_EQ(error_of({"-numa", "dist,src=0,dst=1,val=9"}),
            "-numa dist,src=0,dst=1,val=9: val= expects a number of at least 10, not '9'");
  EXPECT_EQ(error_of({"-numa", "node,nodeid=0,cpu=1"}),
            "-numa node,nodeid=0,cpu=1: there is no key 'cpu' (did you mean 'cpus'?)");
}

}  // namespace
}  // namespace doppel::cli
