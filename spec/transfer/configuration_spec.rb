# frozen_string_literal: true

RSpec.describe Transfer::Configuration do
  it "has defaults" do
    expect(described_class.new({})).to have_attributes(
      python: nil, quiet: false, bridge: :subprocess, timeout: 600, startup_timeout: 60, idle_stop: 600, home: nil,
      offline: false, logger: nil
    )
  end

  it "is inspected by the settings that differ, and is a Hash" do
    config = described_class.new({})
    expect(config.inspect).to eq("#<Transfer::Configuration>")
    config.idle_stop = 60
    config.quiet = true
    expect(config.inspect).to eq("#<Transfer::Configuration quiet=true idle_stop=60>")
    expect(config.to_h).to include(quiet: true, idle_stop: 60, bridge: :subprocess, logger: nil)
  end

  it "starts from the environment" do
    env = { "PYTHON" => "/py", "QUIET" => "1", "BRIDGE" => "subprocess", "TIMEOUT" => "1.5", "IDLE_STOP" => "never",
            "STARTUP_TIMEOUT" => "2", "HOME" => "/h", "OFFLINE" => "0" }.transform_keys { |name| "TRANSFER_#{name}" }
    expect(described_class.new(env)).to have_attributes(
      python: "/py", quiet: true, bridge: :subprocess, timeout: 1.5, idle_stop: nil, startup_timeout: 2, home: "/h",
      offline: false
    )
  end

  it "knows yes and no as people write them" do
    { "0" => false, "false" => false, "No" => false, "" => false, "1" => true, "true" => true, "ON" => true }
      .each do |said, meant|
        config = described_class.new({ "TRANSFER_OFFLINE" => said, "TRANSFER_SHARED_WORKER" => said })
        expect([config.offline, config.shared_worker]).to eq([meant, meant])
      end
    expect(described_class.new({ "TRANSFER_SHARED_WORKER" => "/run/w" }).shared_worker).to eq("/run/w")
  end

  it "refuses what it does not know" do
    expect { described_class.new({}).bridge = :carrier_pigeon }.to raise_error(
      Transfer::ConfigurationError, "bridge is one of :subprocess, :pycall, got :carrier_pigeon"
    )
    expect { described_class.new({ "TRANSFER_BRIDGE" => "x" }) }
      .to raise_error(Transfer::ConfigurationError, 'TRANSFER_BRIDGE is one of :subprocess, :pycall, got "x"')
    expect { described_class.new({ "TRANSFER_TIMEOUT" => "soon" }) }.to raise_error(
      Transfer::ConfigurationError, 'TRANSFER_TIMEOUT is a number of seconds above 0, nil or "never", got "soon"'
    )
  end

  it "takes the same in Ruby as from the environment" do
    config = described_class.new({})
    { python: [Pathname("/py"), "/py"], home: [Pathname("/h"), "/h"], offline: ["false", false], quiet: ["0", false],
      debug: [nil, false], shared_worker: ["0", false], bridge: ["pycall", :pycall], timeout: ["30", 30],
      idle_stop: ["never", nil], startup_timeout: ["1.5", 1.5], max_lifetime: [Rational(1, 2), 0.5],
      max_requests: ["10", 10], max_memory: [2e9, 2_000_000_000], threads: [2.0, 2],
      environment: ["A, B_2", %w[A B_2]] }.each do |name, (said, meant)|
      config.public_send(:"#{name}=", said)
      expect([name, config.public_send(name)]).to eq([name, meant])
    end
    config.environment = [:A]
    config.shared_worker = Pathname("/run/w")
    config.python = :python3
    expect([config.environment, config.shared_worker, config.python]).to eq([%w[A], "/run/w", "python3"])
  end

  it "takes a path that is not UTF-8, and refuses any other such text by name" do
    config = described_class.new({ "TRANSFER_SHARED_WORKER" => "/run/\xFF", "TRANSFER_HOME" => "/\xFF" })
    expect([config.shared_worker, config.home]).to eq(["/run/\xFF", "/\xFF"])
    { quiet: "true or false", timeout: 'a number of seconds above 0, nil or "never"',
      max_memory: 'a size such as "2GB"' }.each do |name, takes|
      expect { config.public_send(:"#{name}=", "\xFF") }
        .to raise_error(Transfer::ConfigurationError, "#{name} is #{takes}, got \"\\xFF\"")
    end
  end

  limit = 'a number of seconds above 0, nil or "never"'
  count = "a whole number above 0, or nil"
  { python: [5, "a path, or nil"], home: [5, "a path, or nil"], quiet: ["maybe", "true or false"],
    shared_worker: [5, "true, false or a folder"], timeout: ["soon", limit], idle_stop: [0, limit],
    max_lifetime: ["1h", limit], startup_timeout: [nil, "a number of seconds above 0"], max_requests: [0, count],
    max_memory: [0, 'a size such as "2GB"'], model_memory: [:big, 'a size such as "2GB"'],
    serving_batch_size: [0, count],
    serving_wait_ms: [-1, "a number of milliseconds from 0 on, or nil"], threads: [1.5, count],
    environment: [["HF_*"], 'a list of names such as "AWS_PROFILE", without patterns'],
    logger: [$stdout, "a Logger, or nil"] }.each do |name, (said, takes)|
    it "refuses a #{name} that is none" do
      config = described_class.new({})
      expect { config.public_send(:"#{name}=", said) }
        .to raise_error(Transfer::ConfigurationError, "#{name} is #{takes}, got #{said.inspect}")
    end
  end

  { "IDLE_STOP" => ["0", limit], "MAX_REQUESTS" => ["0", count], "QUIET" => ["maybe", "true or false"],
    "STARTUP_TIMEOUT" => ["never", "a number of seconds above 0"] }.each do |name, (said, takes)|
    it "refuses a TRANSFER_#{name} that is none" do
      expect { described_class.new({ "TRANSFER_#{name}" => said }) }
        .to raise_error(Transfer::ConfigurationError, "TRANSFER_#{name} is #{takes}, got #{said.inspect}")
    end
  end

  it "refuses no bridge at all" do
    expect { described_class.new({}).bridge = nil }
      .to raise_error(Transfer::ConfigurationError, "bridge is one of :subprocess, :pycall, got nil")
  end

  it "reads limits of a worker" do
    config = described_class.new({ "TRANSFER_MAX_MEMORY" => "1.5 GB", "TRANSFER_MAX_LIFETIME" => "3600",
                                   "TRANSFER_MAX_REQUESTS" => "1000", "TRANSFER_ENVIRONMENT" => "AWS_HOME, MY_KEY" })
    expect([config.max_memory, config.max_lifetime, config.max_requests]).to eq([1_500_000_000, 3600, 1000])
    expect(config.environment).to eq(%w[AWS_HOME MY_KEY])
    { "2GB" => 2 * (10**9), "500 MB" => 500 * (10**6), "64k" => 64_000, "2GiB" => 2**31, 123 => 123, nil => nil,
      "never" => nil }
      .each { |size, bytes| expect(config.tap { config.max_memory = size }.max_memory).to eq(bytes) }
    expect { config.max_memory = "much" }
      .to raise_error(Transfer::ConfigurationError, 'max_memory is a size such as "2GB", got "much"')
  end

  it "takes the settings of serving from the environment, and hands them on to the worker" do
    names = %w[SERVING_BATCH_SIZE SERVING_WAIT_MS SERVING_QUEUE_LIMIT MODEL_MEMORY THREADS TRAINING_THREADS]
    variables = names.map { |name| "TRANSFER_#{name}" }
    config = described_class.new(variables.zip(["16", "2.5", "200", "1GB", "8", "2"]).to_h)
    expect([config.serving_batch_size, config.serving_wait_ms, config.serving_queue_limit, config.model_memory,
            config.threads, config.training_threads]).to eq([16, 2.5, 200, 1_000_000_000, 8, 2])
    expect(config.for_worker).to include(variables.zip(%w[16 2.5 200 1000000000 8 2]).to_h)
    expect(described_class.new({}).for_worker).to include(variables.to_h { |name| [name, nil] })
    expect { described_class.new({ "TRANSFER_THREADS" => "all" }) }
      .to raise_error(Transfer::ConfigurationError, 'TRANSFER_THREADS is a whole number above 0, or nil, got "all"')
    expect { config.model_memory = "much" }
      .to raise_error(Transfer::ConfigurationError, 'model_memory is a size such as "2GB", got "much"')
  end

  it "takes limits on inputs from the environment, and hands them on to the worker" do
    sizes = %w[MAX_IMAGE_BYTES MAX_DATA_BYTES]
    counts = %w[MAX_PIXELS MAX_TEXT_LENGTH MAX_LINE_LENGTH MAX_ROWS MAX_COLUMNS MAX_CELLS MAX_LABELS]
    said = sizes.to_h { |name| [name, "10MB"] }.merge(counts.to_h { |name| [name, "300"] })
    said.transform_keys! { |name| "TRANSFER_#{name}" }
    config = described_class.new(said)
    expect([config.max_image_bytes, config.max_pixels]).to eq([10_000_000, 300])
    expect(config.for_worker).to include(said.transform_values { |text| text.sub("10MB", "10000000") })
    expect { config.max_pixels = 0 }
      .to raise_error(Transfer::ConfigurationError, "max_pixels is a whole number above 0, or nil, got 0")
  end

  it "limits runs unless nothing is said of them, and tells the worker" do
    names = %w[TRANSFER_RUNS_LIMIT TRANSFER_RUNS_KEEP]
    { [] => [5_000_000_000, 2_592_000], %w[1GB 12h] => [1_000_000_000, 43_200], %w[0 90] => [0, 90],
      %w[none none] => [nil, nil] }.each do |said, meant|
      config = described_class.new(names.zip(said).to_h.compact)
      expect([config.runs_limit, config.runs_keep]).to eq(meant)
      expect(config.for_worker.values_at(*names)).to eq(meant.map { |amount| (amount || "none").to_s })
    end
    expect { described_class.new({}).runs_keep = "soon" }
      .to raise_error(Transfer::ConfigurationError, 'runs_keep is a time such as "30d", or nil, got "soon"')
  end

  it "is set in one block" do
    before = Transfer.config.idle_stop
    Transfer.configure { |config| config.idle_stop = 5 }
    expect(Transfer.config.idle_stop).to eq(5)
  ensure
    Transfer.config.idle_stop = before
  end
end
