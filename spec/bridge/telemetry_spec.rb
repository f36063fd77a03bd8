# frozen_string_literal: true

require "json"
require "logger"

RSpec.describe "Statistics, notifications and logs" do
  def trace(log) = bridge::Connection::Trace.new(Logger.new(log, formatter: ->(*, message) { "#{message}\n" }))

  it "are empty before the first call, and start no worker", script: true do
    output, = ruby("p Transfer.stats, Thread.list.size")
    expect(output.lines.last(2)).to eq(["{:workers=>{}, :calls=>{}}\n", "1\n"])
  end

  it "count workers and calls" do
    backend
    Transfer.const_get(:Telemetry).forget
    20.times { bridge.call("echo", { "inputs" => %w[a b c] }) }
    error_of { bridge.call("fail", { "type" => "DataError", "message" => "no" }) }
    error_of { bridge.call("leave", { "status" => 1 }) }
    pid = bridge.call("pid")
    stats = Transfer.stats
    expect(stats[:workers][:train]).to eq({ processes: [], restarts: 0, crashes: 0 })
    expect(stats[:workers][:serve]).to include(restarts: 1, crashes: 1)
    expect(stats[:workers][:serve][:processes]).to match(
      [{ pid:, memory: be > 1_000_000, in_flight: 0, calls: 1, age: be >= 0, idle: be >= 0 }]
    )
    expect(stats[:calls].transform_values { |calls| calls.slice(:count, :failed) }).to eq(
      { echo: { count: 20, failed: 0 }, fail: { count: 1, failed: 1 }, leave: { count: 1, failed: 1 },
        pid: { count: 1, failed: 0 } }
    )
    echo = stats[:calls][:echo]
    expect(echo[:inputs]).to eq({ p50: 3, p90: 3, p99: 3, max: 3 })
    expect(echo[:seconds].values).to eq(echo[:seconds].values.sort)
    expect(stats[:calls][:pid]).not_to include(:inputs)
  end

  it "have percentiles" do
    calls = Transfer.const_get(:Telemetry).const_get(:Calls).new
    (1..1500).to_a.shuffle(random: Random.new(1)).sort.each { |n| calls.add(n, nil, failed: n.even?) }
    expect(calls.to_h).to eq({ count: 1500, failed: 750, seconds: { p50: 1000, p90: 1400, p99: 1490, max: 1500 } })
  end

  it "trace every message as one line" do
    log = StringIO.new
    worker = worker(trace: trace(log))
    worker.call("echo", { "text" => "a\nb" * 200, "bytes" => "\xFF".b * 9 }).value(20)
    error_of { worker.call("fail", { "type" => "DataError", "message" => "no\nphoto" }).value(20) }
    lines = log.string.lines(chomp: true)
    expect(lines.map { |line| line[/(->|<-).*/][0, 60] }).to eq([
      '-> #0 hello {"protocol"=>1, "gem_version"=>"0.1.0"} (38 bytes',
      '<- #0 {"protocol"=>1, "core_version"=>"9.9.9", "python"=>"3",',
      '-> #1 echo {"text"=>"a\nba\nba\nba\nba\nba\nba\nba\nba\nba\nba\n',
      '<- #1 {"text"=>"a\nba\nba\nba\nba\nba\nba\nba\nba\nba\nba\nba\nb',
      '-> #2 fail {"type"=>"DataError", "message"=>"no\nphoto"} (41 ',
      '<- #2 DataError: "no\nphoto" (46 bytes)'
    ].map { |line| line[0, 60] })
    expect(lines.map(&:size).max).to be < 240
  end

  it "log calls, starts and ends" do
    log = StringIO.new
    Transfer.config.logger = Logger.new(log)
    backend
    pid = bridge.call("pid")
    Transfer.shutdown
    said = log.string.lines(chomp: true).map { |line| line[/(?<=: )transfer.*/]&.sub(/[\d.]+ ms/, "N ms") }
    expect(said).to eq(["transfer: worker #{pid} started", "transfer: pid done N ms",
                        "transfer: worker #{pid} ended: the worker was shut down"])
  ensure
    Transfer.config.logger = nil
  end

  it "warn on standard error without a logger" do
    event = { "event" => "warning", "message" => "made by another version" }
    expect { Transfer.const_get(:Telemetry).event(event) }.to output(
      "transfer: warning: made by another version\n"
    ).to_stderr
  end

  it "continue if a warning raises" do
    allow(Warning).to receive(:warn).and_raise("no warnings, please")
    Transfer.config.logger = Class.new(Logger) { def info(*) = raise("full") }.new(nil)
    expect { Transfer.const_get(:Telemetry).worker(:start, pid: 1) }.not_to raise_error
    Transfer.config.logger = nil
    expect { Transfer.const_get(:Telemetry).event("event" => "warning", "message" => "few photos") }.not_to raise_error
    expect(Warning).to have_received(:warn).twice
  ensure
    Transfer.config.logger = nil
  end

  it "continue if a subscriber raises, and warn", script: true do
    output, status = ruby(<<~RUBY)
      require "active_support"
      require "active_support/notifications"
      ActiveSupport::Notifications.subscribe(/(worker_start|worker_stop|warning).transfer/) { |event| raise event.name }
      launch.("echo")
      puts bridge.call("echo", { "text" => "answered" })
      Transfer.const_get(:Telemetry).event("event" => "warning", "message" => "few photos")
      Transfer.shutdown
    RUBY
    expect(status).to be_success, output
    lines = output.lines(chomp: true)
    expect(lines.grep_v(/a logger or a subscriber/)).to eq(['{"text"=>"answered"}', "transfer: warning: few photos"])
    expect(lines.grep(/\Atransfer: warning: a logger or a subscriber raised .*transfer/).size).to eq(3)
  end

  it "instrument operations and workers where ActiveSupport::Notifications is loaded", script: true do
    output, status = ruby(<<~RUBY)
      require "json"
      require "active_support"
      require "active_support/notifications"
      ActiveSupport::Notifications.subscribe(/transfer$/) do |event|
        puts JSON.generate([event.name, event.payload.except(:pid, :exception_object)]) if event.duration > 0
      end
      launch.("echo")
      bridge.call("echo", { "inputs" => [1, 2], "model" => "/m" })
      bridge.call("fail", { "type" => "DataError", "message" => "no" }) rescue nil
      bridge.call("leave", { "status" => 3 }) rescue nil
      bridge.call("pid")
      Transfer.shutdown
    RUBY
    expect(status).to be_success, output
    events = output.lines.grep(/\A\[/).map { |line| JSON.parse(line) }
    crashes, others = events.partition { |name, _| name == "worker_crash.transfer" }
    expect(crashes.to_h.values).to match(
      [{ "error" => "Transfer::WorkerCrashed", "exit_status" => 3, "message" => include("exited with status 3") }]
    )
    expect(others.reject { |event| event.first == "leave.transfer" }).to eq(
      [["worker_start.transfer", {}], ["echo.transfer", { "inputs" => 2, "model" => "/m" }],
       ["fail.transfer", { "exception" => ["Transfer::DataError", "no"] }], ["worker_start.transfer", {}],
       ["pid.transfer", {}], ["worker_stop.transfer", { "reason" => "the worker was shut down" }]]
    )
  end

  it "instrument a training with its run, its model and its epochs", script: true do
    output, status = ruby(<<~RUBY)
      require "json"
      require "active_support"
      require "active_support/notifications"
      ActiveSupport::Notifications.subscribe(/(train|epoch).transfer$/) do |event|
        puts JSON.generate([event.name, event.payload])
      end
      launch.("core")
      Transfer.train(backbone: "b", data: "p")
      Transfer.train_async(backbone: "c", data: "p").value
    RUBY
    expect(status).to be_success, output
    epochs = [1, 2].map do |number|
      ["epoch.transfer", include("run_id" => "r1", "step" => "train", "number" => number, "of" => 2,
                                 "metrics" => include("accuracy"))]
    end
    trained = lambda do |backbone|
      ["train.transfer", { "backbone" => backbone, "run_id" => "r1", "model" => end_with("m.transfer") }]
    end
    expect(output.lines.grep(/\A\[/).map { |line| JSON.parse(line) })
      .to match([*epochs, trained["b"], *epochs, trained["c"]])
  end
end
