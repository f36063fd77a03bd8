# frozen_string_literal: true

require "fileutils"
require "json"

RSpec.describe "transfer runs", :home do
  let(:waiting) { "20260314-150926-535897" }
  let(:done) { "20260315-093238-462643" }

  before do
    run(waiting, "run.json" => JSON.generate(format_version: 1, versions: {}, created_at: "2026-03-14T15:09:26+00:00",
                                             recipe: { backbone: "resnet18", data: { type: "path", path: "/photos" } }))
    run(done, "model.transfer" => "x" * 1_999_999, "report.html" => "y", "saved" => "")
  end

  def runs(...) = transfer("runs", ...)

  def run(id, files)
    FileUtils.mkdir_p("#{@home}/runs/#{id}", mode: 0o700)
    files.each { |name, content| File.write("#{@home}/runs/#{id}/#{name}", content) }
  end

  def age(id, days)
    used = Time.now - (days * 86_400)
    ["#{@home}/runs/#{id}", *Dir["#{@home}/runs/#{id}/*"]].each { |path| File.utime(used, used, path) }
  end

  def left = Dir.children("#{@home}/runs").sort

  it "lists runs in text and JSON" do
    out, err, status = runs("list")
    expect([err, status]).to eq(["", 0])
    expect(out.lines.map(&:split)).to match(
      [%w[run started status size backbone data done],
       [waiting, /\A2026/, /:/, "interrupted", /\A\d+\z/, "B", "resnet18", "/photos", "no", "epoch", "yet"],
       [done, /\A2026/, /:/, "finished,", "saved", "2.0", "MB"]]
    )
    expect(runs("list", "--resumable").first.lines.drop(1).map(&:split).map(&:first)).to eq([waiting])
    plain = JSON.parse(runs("list", "--json").first)
    expect(plain.map { |run| run.values_at("id", "status", "saved", "size", "data") }).to match(
      [[waiting, "interrupted", false, Integer, "/photos"], [done, "finished", true, 2_000_000, nil]]
    )
  end

  it "lists no trainings" do
    FileUtils.rm_rf("#{@home}/runs")
    expect(runs("list")).to eq(["No trainings\n", "", 0])
  end

  it "shows one" do
    out, err, status = runs("show", waiting)
    expect([err, status]).to eq(["", 0])
    expect(out).to match(/^status +interrupted\n/).and match(%r{^data +/photos\n})
    expect(out).to end_with("Next: transfer resume #{waiting}\n")
    expect(out).not_to match(/^report/)
    page = "#{@home}/runs/#{done}/report.html"
    expect(runs("show", done).first).to match(/^report +#{page}$/)
    expect(JSON.parse(runs("show", done, "--json").first)).to include("id" => done, "report" => page)
    expect(runs("show", done[..-2])).to eq(
      ["", %(transfer: there is no run "#{done[..-2]}", did you mean "#{done}"?\n), 4]
    )
  end

  it "removes some" do
    expect(runs("rm", waiting, "x")).to eq(["", %(transfer: there is no run "x"\n), 4])
    expect(left).to eq([waiting, done])
    out, err, status = runs("rm", waiting, done)
    expect([err, status, left]).to eq(["", 0, []])
    expect(out).to match(/\ARemoved #{waiting}, interrupted, \d+ B\nRemoved #{done}, finished, 2.0 MB\nRemoved 2 /)
  end

  it "prunes by age, by size and by the limits of upkeep" do
    age(waiting, 40)
    age(done, 31)
    expect(runs("prune", "--older-than", "35d", "--dry-run").first).to start_with("Would remove #{waiting}")
    expect(runs("prune", "--max-size", "1MB", "--dry-run").first).to start_with("Would remove #{done}, finished")
    expect(left).to eq([waiting, done])
    expect(runs("prune").first).to eq("Removed #{done}, finished, 2.0 MB\nRemoved 1 run, 2.0 MB\n")
    expect(JSON.parse(runs("prune", "--older-than", "1d", "--json").first).map { |run| run["id"] }).to eq([waiting])
    expect(runs("prune")).to eq(["Removed 0 runs, 0 B\n", "", 0])
  end

  it "applies the limits of the configuration" do
    age(done, 8)
    Transfer.config.runs_limit = nil
    expect(runs("prune").first).to eq("Removed 0 runs, 0 B\n")
    Transfer.shutdown
    Transfer.config.runs_limit = "1MB"
    expect(runs("prune").first).to start_with("Removed #{done}")
  ensure
    Transfer.config.runs_limit = 5_000_000_000
  end

  it "rejects wrong command lines" do
    {
      ["tidy"] => 'unknown command "tidy". Try: transfer help runs',
      ["show"] => 'expected "transfer runs show RUN", got no arguments. Try: transfer help runs show',
      ["rm"] => 'expected "transfer runs rm RUN...", got no arguments. Try: transfer help runs rm',
      %w[prune x] => 'expected "transfer runs prune", got 1 argument. Try: transfer help runs prune',
      %w[list --dry-run] => 'unknown option "--dry-run". Try: transfer help runs list',
      %w[prune --older-than soon] =>
        "--older-than takes a time such as 30d, got soon. Try: transfer help runs prune"
    }.each do |argv, message|
      expect(runs(*argv)).to eq(["", "transfer: #{message}\n", 2])
    end
  end

  it "names runs that other users can write to, and the fix" do
    File.chmod(0o777, "#{@home}/runs/#{waiting}")
    out, = runs("list")
    expect(out).to match(/^#{waiting} .* untrusted /)
    expect(out).to end_with("A run is writable by other users. Try: transfer doctor\n")
    err = transfer("resume", waiting)[1]
    expect(err).to start_with("transfer: the run #{waiting} can't be resumed: #{@home}/runs/#{waiting} can be ")
      .and include("Fix: chmod -R go-w #{@home}/runs/#{waiting}; or give --trust, if you trust its content")
    expect(runs("prune", "--max-size", "0").first).to start_with("Removed #{done}")
    expect(left).to eq([waiting])
    expect(transfer("doctor").first).to include("Fix for runs: chmod -R go-w #{@home}/runs/#{waiting}\n")
  end

  it "resumes a path with --trust alone" do
    path = "#{@home}/elsewhere"
    out, err, status = transfer("resume", path)
    expect([out, status]).to eq(["", 4])
    expect(err).to start_with(%(transfer: "#{path}" is not the id of a run)).and include("or --trust, if")
    expect(transfer("resume", path, "--trust")).to eq(
      ["", %(transfer: there is no run "#{path}" in #{@home}/runs\n), 4]
    )
  end
end
