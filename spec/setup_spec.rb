# frozen_string_literal: true

require "fileutils"
require "json"
require "tmpdir"

# The whole of it, with PyTorch, is run by `bin/test package`.
RSpec.describe "transfer setup" do
  around do |example|
    Dir.mktmpdir do |scratch|
      @home = File.realpath(scratch)
      example.run
    end
  end

  let(:environment) { "#{@home}/env" }
  let(:note) { "#{environment}/transfer-setup.json" }

  def setup(*, **) = executable("setup", *, TRANSFER_HOME: @home, **)

  # Stands for an interpreter that this machine does not have.
  def python_that(says:, imports: "exit 0")
    path = "#{@home}/python3"
    File.write(path, "#!/bin/sh\ncase \"$2\" in *version_info*) echo #{says};; *) #{imports};; esac\n")
    File.chmod(0o755, path)
    path
  end

  def finished_environment(**facts)
    FileUtils.mkdir_p("#{environment}/bin")
    File.write("#{environment}/bin/python", "#!/bin/sh\nexit 1\n")
    File.chmod(0o755, "#{environment}/bin/python")
    File.write(note, JSON.generate({ gem_version: Transfer::VERSION, torch: nil, extras: [], offline: false, **facts }))
  end

  it "has nothing to do when it was finished with the same wishes" do
    finished_environment(extras: ["parquet"], torch: "cpu")
    expect(setup("--extras", "parquet", "--cpu")).to eq(["Ready: #{environment}/bin/python\n", "", 0])
  end

  it "tells programs where the interpreter is" do
    finished_environment
    out, = setup("--json")
    expect(JSON.parse(out)).to eq("python" => "#{environment}/bin/python")
  end

  it "refuses an extra that there is not" do
    known = "parquet, sklearn, huggingface, peft, tensorflow, onnx, keras, timm, signing"
    expect(setup("--extras", "parket")).to eq(["", %(transfer: unknown extra "parket" (one of: #{known})\n), 1])
  end

  it "takes one extra by its name, for programs" do
    expect { Transfer.setup(extras: :parket) }.to raise_error(Transfer::ConfigurationError, /\Aunknown extra "parket"/)
  end

  it "does not take two builds of PyTorch" do
    expect(setup("--cpu", "--cuda", "12.6")).to eq(
      ["", "transfer: give --cpu or --cuda, not both; transfer help setup explains it
", 2]
    )
  end

  it "installs nothing where another user could write" do
    File.chmod(0o775, @home)
    fix = "#{@home} can be written by other users (mode 0775). Fix: chmod -R go-w #{@home}"
    expect(setup).to eq(["", "transfer: #{fix}\n", 1])
    expect(Dir.children(@home)).to eq([])
  end

  it "makes a home that is its user's alone" do
    expect(executable("setup", "--python", "/none", TRANSFER_HOME: "#{@home}/new").last).to eq(1)
    expect(File.stat("#{@home}/new").mode & 0o777).to eq(0o700)
  end

  it "says how to get a Python" do
    expect(setup("--python", "#{@home}/none")).to eq(
      ["", "transfer: found no #{@home}/none: sudo apt-get install python3 python3-venv, " \
           "or transfer setup --python PATH\n", 1]
    )
  end

  it "refuses a Python that is too old" do
    python = python_that(says: "3 9")
    expect(setup("--python", python)).to eq(
      ["", "transfer: #{python} is Python 3.9, the core needs 3.10 or newer: transfer setup --python PATH\n", 1]
    )
  end

  it "says which package brings the venv module" do
    python = python_that(says: "3 12", imports: "exit 1")
    expect(setup("--python", python)).to eq(
      ["", "transfer: #{python} has no venv module: sudo apt-get install python3.12-venv\n", 1]
    )
  end

  it "says why pip failed and where the rest is, and leaves no finished environment" do
    no_network = { PIP_CONFIG_FILE: "/dev/null", PIP_INDEX_URL: "http://127.0.0.1:9", PIP_RETRIES: "0",
                   PIP_FIND_LINKS: "", PIP_DISABLE_PIP_VERSION_CHECK: "1" }
    out, err, status = setup(**no_network)
    expect([out, status]).to eq(["", 1])
    # On a busy machine a step also says how long it has been running.
    expect(err.lines.grep_v(/\A  /).join.gsub(/\d+ s/, "1 s")).to eq(<<~TEXT)
      Making a Python environment in #{environment} ...
      done Making a Python environment in #{environment} (1 s)
      Installing PyTorch and the training core ...
      failed Installing PyTorch and the training core (1 s)
      transfer: #{environment}/bin/python -m pip install failed: Could not find a version that satisfies \
      the requirement hatchling>=1.24 (from versions: none); all it said is in #{@home}/setup.log
    TEXT
    expect(File.read("#{@home}/setup.log")).to include("hatchling")
    expect(File.exist?(note)).to be(false)
  end
end
