# frozen_string_literal: true

require "fileutils"
require "json"
require "open3"
require "stringio"
require "tmpdir"
require "transfer/cli"

RSpec.describe Transfer::CLI do
  around do |example|
    Dir.mktmpdir do |scratch|
      @scratch = File.realpath(scratch)
      example.run
    end
  end

  # Standard output, standard error and exit status of a command line.
  def transfer(*argv, input: "")
    streams = [$stdin, $stdout, $stderr]
    $stdin = StringIO.new(input)
    $stdout = StringIO.new
    $stderr = StringIO.new
    status = described_class.run(argv)
    [$stdout.string, $stderr.string, status]
  ensure
    $stdin, $stdout, $stderr = streams
  end

  # A process of its own.
  def executable(*argv, **env)
    command = [RbConfig.ruby, "-I", "gem/lib", "gem/exe/transfer", *argv]
    out, err, status = Open3.capture3(env.transform_keys(&:to_s), *command, chdir: File.expand_path("..", __dir__))
    [out, err, status.exitstatus]
  end

  describe "usage" do
    it "teaches the commands, and every command with an example, in 80 columns" do
      out, err, status = transfer("help")
      expect([err, status]).to eq(["", 0])
      commands = out.scan(/^transfer (\w+)/).flatten
      expect(commands).to eq(%w[help train predict evaluate embed backbones info setup doctor version])
      pages = (commands - ["help"]).map { |command| transfer("help", command).first }
      expect([out, *pages].join.lines(chomp: true).map(&:size).max).to be <= 80
      expect(pages.first(7)).to all(match(/^  transfer \w+ .*/))
    end

    it "explains a command with --help and -h, too" do
      page = transfer("help", "predict")
      expect(page.first).to start_with("transfer predict MODEL PHOTO...\n\nWhat is on these photos.\n")
      [%w[predict --help], %w[predict -h], %w[predict x.transfer --help]].each do |argv|
        expect(transfer(*argv)).to eq(page)
      end
    end

    it "shows all commands when none is given" do
      expect(transfer).to eq(transfer("help"))
      expect(transfer("--help")).to eq(transfer("help"))
    end

    {
      %w[trian photos] => 'unknown command "trian", did you mean "train"?; transfer help lists them',
      %w[dance] => 'unknown command "dance"; transfer help lists them',
      %w[help trian] => 'unknown command "trian", did you mean "train"?; transfer help lists them',
      %w[train photos --backbone x --epoch 3] =>
        'unknown option "--epoch", did you mean "--epochs"?; transfer help train lists them',
      %w[train photos] => "no value provided for required options '--backbone'; transfer help train explains it",
      %w[train --backbone x] => '"transfer train" was called with no arguments; transfer help train explains it',
      %w[train photos --backbone x --fine-tune-epochs 3] =>
        "fine-tuning needs --unfreeze-last N or --unfreeze-all; transfer help train explains it",
      %w[predict m.transfer] =>
        "name at least one photo, or - to read names from standard input; transfer help predict explains it",
      %w[embed m.transfer a.png] =>
        "name a file with --output (.npy, .csv, .jsonl), or give --json; transfer help embed explains it",
      %w[backbones --sort size] =>
        "expected '--sort' to be one of name, parameters, top1; got size; transfer help backbones explains it"
    }.each do |argv, message|
      it "answers `transfer #{argv.join(' ')}` with status 2" do
        expect(transfer(*argv)).to eq(["", "transfer: #{message}\n", 2])
      end
    end

    it "passes its status on to the shell" do
      expect(executable("version")).to eq(["transfer-rb #{Transfer::VERSION} (Ruby #{RUBY_VERSION})\n", "", 0])
      expect(executable("trian").last).to eq(2)
    end

    it "shows where an error came from if TRANSFER_DEBUG asks for it" do
      expect(executable("trian", TRANSFER_DEBUG: "1")[1]).to match(/^transfer: unknown command.*\n.*thor/)
    end
  end

  describe "saving" do
    it "finds out before the training whether the file can be written" do
      FileUtils.touch("#{@scratch}/old.transfer")
      {
        @scratch => "#{@scratch} is a folder; name a file, such as #{@scratch}/model.transfer",
        "#{@scratch}/old.transfer" => "#{@scratch}/old.transfer is there already; --force overwrites it",
        "#{@scratch}/no/m.transfer" => "#{@scratch}/no/m.transfer can't be written: there is no folder #{@scratch}/no"
      }.each do |file, message|
        expect(transfer("train", "photos", "--backbone", "mobilenet_v2", "--save", file)).to eq(
          ["", "transfer: #{message}\n", 1]
        )
      end
    end
  end

  describe "the recipe" do
    # What `transfer train photos ...` builds.
    def recipe(*argv)
      command = described_class.new([], argv, command_options: described_class.commands["train"].options)
      Transfer::Recipe.build(command.send(:recipe, "photos")).to_h
    end

    def built(**words, &)
      Transfer::Recipe.build({ backbone: "mobilenet_v2", data: "photos", **words }, &).to_h
    end

    it "is the one that Ruby builds from the same words" do
      expect(recipe("--backbone", "mobilenet_v2")).to eq(built)
      expect(recipe("--backbone", "mobilenet_v2", "--epochs", "5", "--optimizer", "adam", "--learning-rate", "1e-3",
                    "--seed", "7", "--device", "cpu", "--preset", "best")).to eq(
                      built(epochs: 5, optimizer: :adam, learning_rate: 1e-3, seed: 7, device: :cpu, preset: :best)
                    )
    end

    it "has steps if the backbone is fine-tuned" do
      expect(recipe("--backbone", "mobilenet_v2", "--epochs", "5", "--unfreeze-last", "3", "--fine-tune-epochs", "2",
                    "--fine-tune-optimizer", "sgd", "--fine-tune-learning-rate", "1e-4")).to eq(
                      built do
                        freeze :backbone
                        train epochs: 5
                        unfreeze last: 3
                        train epochs: 2, optimizer: :sgd, learning_rate: 1e-4
                      end
                    )
      expect(recipe("--backbone", "mobilenet_v2", "--unfreeze-all")["steps"]).to eq(
        built { freeze(:backbone) && train && unfreeze(:all) && train }["steps"]
      )
    end

    it "has head, augmentation, columns and splits" do
      expect(recipe("--backbone", "mobilenet_v2", "--hidden", "256,128", "--dropout", "0.3", "--augment", "flip,crop",
                    "--input-column", "file", "--target-column", "x,y", "--split-column", "part", "--test", "b.csv",
                    "--valid-size", "0.1")).to eq(
                      built(data: { train: "photos", test: "b.csv" }, split: { valid: 0.1 }) do
                        head :mlp, hidden: [256, 128], dropout: 0.3
                        augment :flip, :crop
                        columns input: "file", target: %w[x y], split: "part"
                      end
                    )
    end

    it "leaves it to the core to judge values" do
      expect(recipe("--backbone", "mobilenet_v2", "--epochs", "many")).to eq(built(epochs: "many"))
    end
  end
end
