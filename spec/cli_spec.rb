# frozen_string_literal: true

require "fileutils"
require "json"

RSpec.describe Transfer::CLI, :scratch do
  describe "help" do
    # Commands and subcommands with their pages.
    def pages
      commands = transfer("help").first.scan(/^  transfer (\S+)  /).flatten
      groups = %w[runs cache worker]
      paths = (commands - groups).map { |command| [command] } +
              groups.flat_map { |group| transfer("help", group).first.scan(/^  transfer (\S+) (\S+)  /) }
      paths.to_h { |path| [path, transfer("help", *path).first] }
    end

    it "lists the commands" do
      out, err, status = transfer("help")
      expect([err, status]).to eq(["", 0])
      expect(out.scan(/^  transfer (\S+)  /).flatten).to eq(
        %w[train check audit estimate compare rank learning-curve soup resume runs predict predict-all explain
           features attention similar evaluate report select embed export info backbones keygen sign verify cache worker
           setup doctor version completions uninstall]
      )
      expect(transfer).to eq([out, err, status])
      expect(transfer("--help")).to eq([out, err, status])
    end

    it "has a page with an example for each command, in 80 columns" do
      expect(pages.size).to eq(40)
      pages.each do |path, page|
        expect(page).to start_with("Usage: transfer #{path.join(' ')}").and match(/^  .*\btransfer #{path.join(' ')}\b/)
        expect(page.lines(chomp: true).map(&:size).max).to be <= 80
        expect(transfer(*path, "--help").first).to eq(page)
        expect(transfer(*path, "x.transfer", "-h").first).to eq(page)
      end
      expect(transfer("help").first.lines(chomp: true).map(&:size).max).to be <= 80
    end

    it "is quoted by docs/reference/cli.md" do
      reference = File.read(File.expand_path("../docs/reference/cli.md", __dir__))
      pages.each_value { |page| expect(reference).to include("```\n#{page}```") }
      statuses = Transfer::CLI::ExitStatus.constants.map { |name| Transfer::CLI::ExitStatus.const_get(name) }
      expect(reference.scan(/^\| (\d+) \|/).flatten.map(&:to_i)).to match_array(statuses)
    end
  end

  describe "usage" do
    {
      %w[trian photos] => 'unknown command "trian", did you mean "train"? Try: transfer help',
      %w[dance] => 'unknown command "dance". Try: transfer help',
      %w[help trian] => 'unknown command "trian", did you mean "train"? Try: transfer help',
      %w[train photos --backbone x --epoch 3] =>
        'unknown option "--epoch", did you mean "--epochs"? Try: transfer help train',
      %w[train photos --lr 3] => 'unknown option "--lr", did you mean "--learning-rate"? Try: transfer help train',
      %w[--epoch 3] => 'unknown option "--epoch". Try: transfer help',
      ["train", "photos", "--save", ""] =>
        "--save needs the name of a file, such as model.transfer. Try: transfer help train",
      %w[train photos --save] => "--save needs a value. Try: transfer help train",
      %w[train] => 'expected "transfer train DATA", got no arguments. Try: transfer help train',
      %w[train a b] => 'expected "transfer train DATA", got 2 arguments. Try: transfer help train',
      %w[train photos --backbone x --fine-tune-epochs 3] =>
        "fine-tuning needs --unfreeze-last N, --unfreeze-all or --lora-rank N. Try: transfer help train",
      %w[predict m.transfer] =>
        "name at least one input, or - to read them from standard input. Try: transfer help predict",
      %w[embed m.transfer a.png] =>
        "name a file with --output (.npy, .csv, .jsonl), or give --json. Try: transfer help embed",
      %w[predict m.transfer a.png --top 0] =>
        "--top takes a whole number from 1 on, got 0. Try: transfer help predict",
      %w[predict m.transfer a.png --top -1] =>
        "--top takes a whole number from 1 on, got -1. Try: transfer help predict",
      %w[predict m.transfer a.png --top 1.5] =>
        "--top takes a whole number from 1 on, got 1.5. Try: transfer help predict",
      ["predict", "m.transfer", "-5 degrees"] => 'unknown option "-5 degrees". Try: transfer help predict',
      %w[train spec --target-column species] =>
        "spec is a directory and has no columns: its labels are the names of its directories. " \
        "Try: transfer help train",
      ["embed", "m.transfer", "a.png", "--output", ""] =>
        "--output needs the name of a file, such as vectors.npy. Try: transfer help embed",
      %w[backbones --max-parameters 1.2.3M] =>
        "--max-parameters takes a number such as 10M, got 1.2.3M. Try: transfer help backbones",
      %w[backbones --sort size] =>
        "expected '--sort' to be one of relevance, name, parameters, metric; got size. " \
        "Try: transfer help backbones"
    }.each do |argv, message|
      it "rejects `transfer #{argv.join(' ')}`" do
        expect(transfer(*argv)).to eq(["", "transfer: #{message}\n", 2])
      end
    end

    it "takes words after -- for inputs" do
      ["-h", "--help", "-5 degrees"].each do |text|
        expect(transfer("predict", "none.transfer", "--", text)).to match(["", /\Atransfer: .*none.transfer/, 3])
      end
      expect(transfer("help", "predict").first).to include("Words after -- are inputs")
    end

    it "prints the versions of gem and core" do
      gem = "transfer-rb #{Transfer::VERSION} (Ruby #{RUBY_VERSION})\n"
      expect(transfer("version")).to match(
        [/\A#{Regexp.escape(gem)}transfer-core #{Transfer::VERSION} \(Python 3\.\S+, PyTorch \d\S+\)\n\z/, "", 0]
      )
      expect(JSON.parse(transfer("version", "--json").first))
        .to include("transfer" => Transfer::VERSION, "transfer_core" => Transfer::VERSION, "torch" => /\A\d/)
      expect(executable("version", TRANSFER_PYTHON: "/nowhere"))
        .to eq(["#{gem}transfer-core: not usable. Try: transfer doctor\n", "", 0])
    end

    it "prints the version of the gem whatever Python does" do
      gem = "transfer-rb #{Transfer::VERSION} (Ruby #{RUBY_VERSION})\n"
      unusable = ["#{gem}transfer-core: not usable. Try: transfer doctor\n", "", 0]
      expect(executable("version", TRANSFER_PYTHON: "/bin/true")).to eq(unusable)
      expect(executable("version", TRANSFER_TIMEOUT: "bad")).to eq(unusable)
      { "echo hello; exec #{Workers::PYTHON} \"$@\"" => /\Atransfer-rb .*\ntransfer-core #{Transfer::VERSION} /,
        "exec sleep 60" => unusable.first }.each do |script, said|
        File.write(python = "#{@scratch}/python", "#!/bin/sh\n#{script}\n", perm: 0o755)
        stub_const("Transfer::Doctor::PATIENCE_S", 0.3) if script.include?("sleep")
        Transfer.config.python = python
        expect(transfer("version")).to match([said, "", 0])
      end
    ensure
      Transfer.config.python = Workers::PYTHON
    end

    it "exits with the status" do
      expect(executable("version").last).to eq(0)
      expect(executable("trian").last).to eq(2)
    end

    it "prints the backtrace with TRANSFER_DEBUG=1" do
      expect(executable("trian", TRANSFER_DEBUG: "1")[1]).to match(/^transfer: unknown command.*\n.*thor/)
    end
  end

  describe "errors" do
    it "are one line for each thing that is wrong, without a line of code" do
      train = ->(data, *words) { transfer("train", data, "--backbone", *words) }
      expect(train.call("photos", "mobilenet_v2", "--optimizer", "adm", "--epochs", "0")).to match(
        ["", /\Atransfer: epochs.*\ntransfer: unknown optimizer "adm", did you mean "adam"\?.*\n\z/, 2]
      )
      expect(train.call("photos", "mobilnet_v2")).to match(
        ["", /\Atransfer: unknown backbone "mobilnet_v2", did you mean "mobilenet_v2"\?.*\n\z/, 2]
      )
      expect(train.call("#{@scratch}/none", "mobilenet_v2")).to match(["", %r{\Atransfer: .*#{@scratch}/none.*\n\z}, 3])
      photo_folder("#{@scratch}/broken", count: 4)
      File.write("#{@scratch}/broken/#{Dir.children("#{@scratch}/broken").min}/x.png", "text")
      expect(train.call("#{@scratch}/broken", "mobilenet_v2")[1]).to match(
        %r{/x.png: it is not an image.* \(fix or remove it, or use --on-bad-input skip\)$}
      )
      expect(transfer("train", "\xFF"))
        .to eq(["", %(transfer: "\\xFF" is not valid UTF-8. Fix: rename the file\n), 3])
      expect(transfer("predict", "#{@scratch}/none.transfer", "a.png")).to match(
        ["", %r{\Atransfer: .*#{@scratch}/none.transfer.*\n\z}, 3]
      )
    end

    it "exit with status 130 on Ctrl-C" do
      photo_folder("#{@scratch}/photos", count: 4)
      command = [RbConfig.ruby, "-I", Scripts::LIB, "gem/exe/transfer", "train", "#{@scratch}/photos", "--backbone",
                 "mobilenet_v2", "--epochs", "100000", "--optimizer", "adam", "--device", "cpu"]
      Open3.popen3({ "TRANSFER_HOME" => "#{@scratch}/home" }, *command) do |_, _, err, process|
        sleep 0.1 until (run = Dir["#{@scratch}/home/runs/*/run.json"].first)
        sleep 0.5
        Process.kill("INT", process.pid)
        id = File.basename(File.dirname(run))
        expect([err.read, process.value.exitstatus]).to eq(["transfer: interrupted. Fix: transfer resume #{id}\n", 130])
      end
    end

    # @return [Array(Hash, Integer)] the error and the status of a command, which prints nothing else
    def json_error(*argv)
      out, err, status = transfer(*argv, "--json")
      expect([out.lines.size, err]).to eq([1, ""])
      [JSON.parse(out, symbolize_names: true).fetch(:error), status]
    end

    it "are JSON on standard output with --json" do
      expect(json_error("trian")).to eq(
        [{ code: "usage", message: 'unknown command "trian", did you mean "train"?', fix: "transfer help" }, 2]
      )
      expect(json_error("train", "photos", "--optimizer", "adm", "--epochs", "0")).to match(
        [{ code: "recipe", message: /\Aepochs.*\nunknown optimizer "adm"/,
           problems: [{ path: "train.epochs", message: /\Aepochs/ }, include(path: "train.optimizer")] }, 2]
      )
      expect(json_error("predict", "#{@scratch}/none.transfer", "a.png"))
        .to match([include(code: "model_file", message: /none.transfer/), 3])
      expect(json_error("train", "#{@scratch}/none")).to match([include(code: "data", message: %r{/none}), 3])
      expect(json_error("train", "photos", "--save", @scratch)).to eq(
        [{ code: "configuration", message: "#{@scratch} is a directory",
           fix: "name a file, such as #{@scratch}/model.transfer" }, 4]
      )
      allow(Transfer).to receive(:runs).and_raise(TypeError, "odd")
      expect(json_error("runs", "list")).to match([include(code: "unexpected", message: "odd (TypeError)"), 1])
    end

    it "are not printed if the reader of the output has ended" do
      reader, writer = IO.pipe
      reader.close
      err = Tempfile.new("stderr")
      pid = spawn(RbConfig.ruby, "-I", Scripts::LIB, "gem/exe/transfer", "help", out: writer, err: err.path)
      expect([Process.wait2(pid).last.exitstatus, err.read]).to eq([141, ""])
    ensure
      writer.close
    end
  end
end
