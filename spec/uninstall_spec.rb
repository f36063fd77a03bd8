# frozen_string_literal: true

require "expect"
require "fileutils"
require "json"
require "pty"

RSpec.describe "transfer uninstall", :scratch do
  let(:home) { "#{@scratch}/home" }

  before do
    { "env/bin/python" => 3_000_000, "env/transfer-setup.json" => 2, "cache/features/a" => 2_000_000, "trusted" => 64,
      "weights/a.pth" => 1_000_000, "runs/a/model.transfer" => 500_000 }.each { |path, bytes| write(path, bytes) }
  end

  def write(path, bytes)
    FileUtils.mkdir_p(File.dirname("#{home}/#{path}"))
    File.write("#{home}/#{path}", "0" * bytes)
  end

  def uninstall(*) = executable("uninstall", *, TRANSFER_HOME: home)

  def left = Dir.children(home).sort

  it "removes all but the runs, after a list with sizes" do
    out, err, status = uninstall("--yes")
    expect([out, status]).to eq(["Removed\n", 0])
    expect(err.lines.map { |line| line.split(/  +/).map(&:strip) }).to eq(
      [["environment", "3.0 MB", "#{home}/env"], ["cache", "2.0 MB", "#{home}/cache"],
       ["downloaded weights", "1.0 MB", "#{home}/weights"], ["settings", "64 B", "#{home}/trusted"],
       ["total", "6.0 MB"]]
    )
    expect(left).to eq(["runs"])
    expect(uninstall("--yes")).to eq(["Nothing to remove in #{home}\n", "", 0])
  end

  it "removes runs and the directory itself with --all" do
    out, = uninstall("--all", "--yes", "--json")
    expect(JSON.parse(out).to_h { |part| part.values_at("name", "bytes") }).to include("runs" => 500_000)
    expect(File.exist?(home)).to be(false)
    expect(uninstall("--all", "--yes")).to eq(["Nothing to remove in #{home}\n", "", 0])
  end

  it "keeps other files, and the targets of links" do
    outside = "#{@scratch}/outside"
    FileUtils.mkdir_p(outside)
    File.write("#{outside}/photo", "")
    write("notes", 1)
    FileUtils.ln_s(outside, "#{home}/env/link")
    FileUtils.rm_r("#{home}/cache")
    FileUtils.ln_s(outside, "#{home}/cache")
    expect(uninstall("--all", "--yes").last).to eq(0)
    expect(left).to eq(["notes"])
    expect(File.exist?("#{outside}/photo")).to be(true)
  end

  it "asks first" do
    expect(uninstall).to match(["", /give --yes. Try: transfer help uninstall\n\z/, 2])
    expect(answered("n")).to eq(130)
    expect(left).to eq(%w[cache env runs trusted weights])
    expect(answered("y")).to eq(0)
    expect(left).to eq(["runs"])
  end

  it "removes nothing while a worker or a training uses it" do
    with_worker do |worker|
      expect(uninstall("--yes")[1].lines.last).to eq(
        "transfer: #{home} is in use by process #{worker}. " \
        "Fix: stop the programs that use Transfer, and run transfer worker stop\n"
      )
    end
    File.write("#{home}/runs/a/lock", Process.pid.to_s)
    File.open("#{home}/runs/a/lock") do |lock|
      lock.flock(File::LOCK_EX)
      expect(uninstall("--all", "--yes")[1]).to include("is in use by process #{Process.pid}. ")
    end
    expect(left).to eq(%w[cache env runs trusted weights])
    expect(uninstall("--yes").last).to eq(0)
  end

  # The exit status.
  def answered(word)
    command = [RbConfig.ruby, "-I", Scripts::LIB, File.expand_path("../gem/exe/transfer", __dir__), "uninstall"]
    output, input, pid = PTY.spawn({ "TRANSFER_HOME" => home }, *command)
    output.expect(%r{\[y/N\] }, 30) or raise "no question"
    input.puts(word)
    Process.wait2(pid).last.exitstatus
  ensure
    [output, input].compact.each(&:close)
  end

  # A process with a worker of this home, which an environment variable names.
  def with_worker
    code = "Transfer.warm_up.join; puts Transfer.stats[:workers].values.flat_map { |w| w[:processes] }.first[:pid]; " \
           "$stdout.flush; gets"
    command = [RbConfig.ruby, "-I", Scripts::LIB, "-r", "transfer", "-e", code]
    IO.popen({ "TRANSFER_HOME" => home }, command, "r+") do |program|
      yield Integer(program.gets)
      program.puts
    end
  end
end
