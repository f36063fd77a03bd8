# frozen_string_literal: true

# An application with a constant `Transfer` of its own.
RSpec.describe "transfer/namespaced" do
  def run(code) = Open3.capture2e(RbConfig.ruby, "-w", "-I", Scripts::LIB, stdin_data: code)

  app = "class Transfer < Struct.new(:amount); end\n"
  message = "Transfer is defined already (-:1), transfer-rb can't define it. Fix: require \"transfer/namespaced\", " \
            "which defines TransferLearning instead (in a Gemfile: gem \"transfer-rb\", " \
            "require: \"transfer/namespaced\")\n"

  it "is what the error of the ordinary require proposes" do
    output, = run(<<~RUBY)
      #{app}begin
        require "transfer"
      rescue NameError => error
        puts error.message
      end
      puts Transfer.new(5).amount
    RUBY
    expect(output).to eq("#{message}5\n")
  end

  it "trains and predicts beside the class of the application" do
    output, status = run(<<~RUBY)
      #{app}require "transfer/namespaced"
      bridge = TransferLearning.const_get(:Bridge)
      command = [#{Workers::PYTHON.inspect}, "#{Workers::FOLDER}/core.py"]
      TransferLearning.config.python = command.first
      bridge.replace(bridge::Pool.new { bridge::LaunchOptions.new(command:) })
      model = TransferLearning.train(backbone: "b", data: "p", quiet: true) { freeze :backbone; train epochs: 1 }
      prediction = model.predict("a.jpg")
      begin
        TransferLearning.train(data: "p", quiet: true)
      rescue TransferLearning::RecipeError => error
        puts error.message
      end
      p Transfer.new(5), model, prediction, prediction.class, Marshal.load(Marshal.dump(model)) == model
      p TransferLearning::DataError.new("x")
      TransferLearning.shutdown
    RUBY
    expect(status).to be_success, output
    expect(output).to eq(<<~TEXT)
      -:10: backbone is missing
      #<struct Transfer amount=5>
      #<TransferLearning::Model m.transfer: b, classification of blue, red, accuracy 0.975, balanced_accuracy 0.75>
      #<TransferLearning::Prediction a.jpg 0.750>
      TransferLearning::Prediction::Classification
      true
      #<TransferLearning::DataError: x>
    TEXT
  end

  it "loads everything, as nothing can be loaded later, and keeps the same constants private" do
    output, = run(<<~RUBY)
      require "transfer/namespaced"
      lib = "#{Scripts::LIB}"
      puts Dir["\#{lib}/transfer/**/*.rb"].reject { |file| $LOADED_FEATURES.include?(file) || file.match?(%r{/transfer/(cli|rails|engine)\\b}) }
      p defined?(Transfer), TransferLearning.constants.sort
    RUBY
    constants, = run('require "transfer"; Transfer.const_get(:Permissions); p Transfer.constants.sort')
    expect(output).to eq("nil\n#{constants}")
  end

  it "leaves a constant that the application loads later" do
    Dir.mktmpdir do |folder|
      File.write("#{folder}/later.rb", "class Transfer; NAME = :app; end")
      output, = run(<<~RUBY)
        autoload :Transfer, "#{folder}/later.rb"
        begin
          require "transfer"
        rescue NameError => error
          puts error.class
        end
        require "transfer/namespaced"
        p TransferLearning::VERSION, Object.autoload?(:Transfer) && Transfer::NAME
      RUBY
      expect(output).to eq("NameError\n#{Transfer::VERSION.inspect}\n:app\n")
    end
  end

  it "takes over what a gemspec has loaded, but not the whole gem" do
    output, = run(<<~RUBY)
      require "transfer/version"
      require "transfer/namespaced"
      p defined?(Transfer), TransferLearning::VERSION
    RUBY
    expect(output).to eq("nil\n#{Transfer::VERSION.inspect}\n")
    output, = run(%(require "transfer"\nrequire "transfer/namespaced"))
    expect(output).to include('"transfer" is loaded already. Fix: require either "transfer" or "transfer/namespaced"')
  end
end
